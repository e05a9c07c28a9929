// What changes from step to step, written by the host before each one; `plan` order as in src/model/clock.rs.
struct Clock {
    step: u32,
    lr: f32,
    puzzle_emb_lr: f32,
    first_moment_scale: f32,
    second_moment_scale: f32,
    seed_low: u32,
    seed_high: u32,
    first_sample: u32,
    most_steps: u32,
}
