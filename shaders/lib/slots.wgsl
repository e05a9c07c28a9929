// Where the `words` words of a slot start in a buffer that has a part for each micro-batch, parts being `stride` words
// apart.
fn first_word(slot: u32, words: u32, micro_batch: u32, stride: u32) -> u32 {
    return slot / micro_batch * stride + slot % micro_batch * words;
}
