//! An example or two for the help of each command; a test parses them all.

/// By command, without "trm".
const EXAMPLES: [(&str, &[&str]); 32] = [
    ("demo", &["trm demo", "trm demo --device cpu --seed 3"]),
    (
        "data",
        &[
            "trm data sudoku --generate 1000 --test 200 --size 6 --num-aug 100 --out data/sudoku6",
            "trm data inspect data/sudoku6",
        ],
    ),
    (
        "data sudoku",
        &[
            "trm data sudoku --generate 1000 --test 200 --size 6 --num-aug 100 --out data/sudoku6",
            "trm data sudoku --train-csv train.csv --test-csv test.csv --subsample 1000 --num-aug 1000 --out data/extreme",
            "trm data sudoku --lists 17-clues.txt hardest.txt --subsample 1000 --test 2000 --out data/sudoku-real",
        ],
    ),
    ("data maze", &["trm data maze --train-csv train.csv --test-csv test.csv --aug --out data/maze-hard"]),
    ("data arc", &["trm data arc --input-file-prefix kaggle/arc-agi --out data/arc1"]),
    ("data table", &["trm data table --train train.csv --test test.csv --vocab 0..9 --out data/own"]),
    (
        "data join",
        &[
            "trm data join data/first data/second --out data/both",
            "trm data join --mix data/first data/second --out data/mixed",
        ],
    ),
    ("data inspect", &["trm data inspect data/sudoku6"]),
    (
        "data batches",
        &["trm data batches --recipe tiny-sudoku6 --data data/sudoku6 --steps 50 --out batches.npy"],
    ),
    (
        "train",
        &[
            "trm train --recipe tiny-sudoku6 --data data/sudoku6 --out runs/first",
            "trm train --recipe sudoku-mlp --set train.lr=5e-5 --data data/extreme --out runs/long --time-limit 11h45m",
            "trm train --resume --data data/extreme --out runs/long",
        ],
    ),
    ("runs", &["trm runs runs/first"]),
    (
        "report",
        &["trm report runs/first runs/second --out report.html", "trm report runs/first --csv curves.csv"],
    ),
    (
        "eval",
        &[
            "trm eval --run runs/first --data data/sudoku6",
            "trm eval --run runs/first --at best --data data/sudoku6 --halt --limit 1000",
            "trm eval --run runs/first --data data/sudoku6 --noise 0.3 --sweep rollouts=1,4,16 steps=16,32",
            "trm eval --weights shipped:sudoku6 --data data/sudoku6",
        ],
    ),
    (
        "solve",
        &[
            "trm solve 1....5...162.13...56..2.3.........13",
            "trm solve --run runs/first --watch 1....5...162.13...56..2.3.........13",
            "trm solve --run runs/first --rollouts 16 --noise 0.3 --select valid sudokus.txt",
            "trm solve --run runs/sort --data data/sort \"3 1 2\"",
        ],
    ),
    (
        "serve",
        &[
            "trm serve --run runs/first --halt",
            "trm serve --weights models/sudoku --listen 127.0.0.1:0 --batch 64",
            "trm serve --run runs/first --halt --most-rollouts 16 --most-steps 32",
        ],
    ),
    ("import", &["trm import step_155718 --config all_config.yaml --data data/arc1 --out models/arc1"]),
    (
        "export",
        &[
            "trm export --weights models/arc1 --pytorch arc1.pt",
            "trm export --run runs/first --safetensors hub/first",
            "trm export --weights shipped:sudoku6 --safetensors sudoku6 --dtype f16",
        ],
    ),
    ("verify", &["trm verify --device 0"]),
    (
        "plan",
        &[
            "trm plan --recipe sudoku-mlp --batch 64",
            "trm plan --recipe sudoku-mlp --batch 8 --predict 20,500",
        ],
    ),
    ("devices", &["trm devices", "trm devices --json"]),
    ("doctor", &["trm doctor", "trm doctor --device cpu --json"]),
    ("kernels", &["trm kernels", "trm kernels --isa navi21,gfx1100"]),
    (
        "bench",
        &["trm bench step --recipe sudoku-mlp --batch 8 --device 0", "trm bench card --out card --device 0"],
    ),
    ("bench roofline", &["trm bench roofline --device 0"]),
    ("bench kernels", &["trm bench kernels --recipe sudoku-mlp --device 0"]),
    ("bench step", &["trm bench step --recipe sudoku-mlp --batch 8 --device 0"]),
    ("bench scaling", &["trm bench scaling --recipe tiny-sudoku6 --device 0"]),
    ("bench card", &["trm bench card --out card --device 0"]),
    ("bench compare", &["trm bench compare before.json after.json"]),
    ("tune", &["trm tune --recipe sudoku-mlp --batch 8 --device 0"]),
    (
        "completions",
        &[
            "trm completions bash > ~/.local/share/bash-completion/completions/trm",
            "trm completions zsh > ~/.zfunc/_trm",
            "trm completions fish > ~/.config/fish/completions/trm.fish",
            "trm completions powershell >> $PROFILE",
        ],
    ),
    ("man", &["trm man ~/.local/share/man/man1"]),
];

/// With examples below the help of each command.
pub fn shown(command: clap::Command) -> clap::Command {
    command.mut_subcommands(|command| below(command, ""))
}

fn below(command: clap::Command, parent: &str) -> clap::Command {
    let name = [parent, command.get_name()].join(" ").trim_start().to_owned();
    let lines = of(&name).iter().map(|line| format!("\n  {line}"));
    let text = format!("Examples:{}", lines.collect::<String>());
    command.after_help(text).mut_subcommands(|command| below(command, &name))
}

fn of(name: &str) -> &'static [&'static str] {
    EXAMPLES.iter().find(|(command, _)| *command == name).map_or(&[], |(_, lines)| lines)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Parses every command of trm in the lines of a shell; returns how many there are.
    fn parse(lines: &str) -> usize {
        let lines = lines.replace("\\\n", " ");
        let words =
            |line: &str| shlex::split(line).unwrap_or_else(|| panic!("{line}: a quote without its end"));
        let parsed = |line: &str| {
            let words = words(line);
            let commands = words.split(|word| ["|", "&&", ";", "||"].contains(&word.as_str()));
            let parse = |command: &[String]| {
                let command = command.iter().map(|word| word.trim_end_matches(';'));
                let command =
                    command.take_while(|word| !word.starts_with(['>', '<', '&']) && !word.starts_with("2>"));
                let command: Vec<&str> =
                    command.skip_while(|word| *word != "trm" && !word.ends_with("/trm")).collect();
                let parsed = crate::cli::definitions().try_get_matches_from(&command);
                assert!(command.is_empty() || parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                usize::from(!command.is_empty())
            };
            commands.map(parse).sum::<usize>()
        };
        lines.lines().map(parsed).sum()
    }

    fn check(command: &clap::Command, parent: &str) {
        let name = [parent, command.get_name()].join(" ").trim_start().to_owned();
        assert!(!of(&name).is_empty(), "{name} has no example");
        for line in of(&name) {
            assert!(line.starts_with(&format!("trm {name}")), "{line} is no example of {name}");
            assert_eq!(parse(line), 1, "{line}");
        }
        command.get_subcommands().for_each(|inner| check(inner, &name));
    }

    #[test]
    fn every_command_has_examples_that_parse() {
        crate::cli::definitions().get_subcommands().for_each(|command| check(command, ""));
    }

    #[test]
    fn commands_of_the_pages_parse() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let pages = fs::read_dir(root.join("assets/doc")).unwrap().map(|entry| entry.unwrap().path());
        let pages = pages.filter(|page| page.extension() == Some("md".as_ref()));
        let mut commands = 0;
        for page in pages.chain(["README.md", "ARCHITECTURE.md"].map(|name| root.join(name))) {
            let text = fs::read_to_string(&page).unwrap();
            let blocks = text.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
            commands += blocks.map(parse).sum::<usize>();
        }
        assert!(commands > 50, "{commands} commands");
    }
}
