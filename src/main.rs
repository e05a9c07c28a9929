fn main() {
    let device = std::env::args().nth(1).unwrap_or("cpu".into());
    let (device, why) = trm::engine::select(&device).unwrap_or_else(|e| panic!("{e}"));
    eprintln!("{:?} {why}", device.info());
    let golden = trm::eval::golden::Golden::built_in().unwrap_or_else(|e| panic!("{e}"));
    for g in &golden {
        match trm::eval::verify::verify(&device, std::slice::from_ref(g), |_| {}) {
            Ok(r) => println!("{} {:?} {:?}", g.name, r.ok, r.cases[0].worst),
            Err(e) => println!("{} {e}", g.name),
        }
    }
}
