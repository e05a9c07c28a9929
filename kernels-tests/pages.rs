//! The pages for people: their commands do what they say as they stand there, and their links lead somewhere.
//!
//! Blocks of `sh` run one after the other in a folder of the page's own; those of `console`, for other machines, other
//! people's files or long times, are parsed by a test of `cli/examples`.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::cli::{Outcome, check, ran, with_cache};
use crate::data::folder;

/// What the commands of a page must show, and how often at least.
const SHOWN: [(&str, &str, usize); 1] = [("own-data.md", "solved: every labelled token is right", 3)];

/// As in a shell, but that puzzles that are not solved end no page: "trm solve" exits with 1 there.
const PRELUDE: &str = "set -e
trm() {
    command trm \"$@\" || { code=$?; [ \"$1 $code\" = 'solve 1' ] || return $code; }
}
";

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = fs::read_dir(root.join("assets/doc")).expect("the folder of pages");
    let mut pages: Vec<PathBuf> = found
        .map(|entry| entry.expect("a page").path())
        .filter(|path| path.extension() == Some("md".as_ref()))
        .collect();
    pages.extend(["README.md", "ARCHITECTURE.md"].map(|name| root.join(name)));
    pages.sort();
    let trial = |page: PathBuf| {
        let name = page.file_name().expect("a name").to_string_lossy().into_owned();
        let runs = Trial::test(format!("pages: {name}"), move || runs(&page));
        runs.with_ignored_flag(!cfg!(unix))
    };
    pages.into_iter().map(trial).collect()
}

fn runs(page: &Path) -> Outcome {
    let text = fs::read_to_string(page)?;
    let dir = folder();
    let trm = Path::new(env!("CARGO_BIN_EXE_trm")).parent().expect("the program's folder");
    let path = format!("{}:{}", trm.display(), std::env::var("PATH")?);
    let mut shown = String::new();
    for block in text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("{PRELUDE}{block}")]).current_dir(dir.path()).env("PATH", &path);
        let ran = ran(with_cache(&mut shell, dir.path()).output()?);
        check(ran.code == 0, || format!("{block}\n{}", ran.stderr))?;
        shown += &ran.stdout;
    }
    let name = page.file_name().expect("a name");
    for (_, part, least) in SHOWN.iter().filter(|(page, ..)| *page == name) {
        check(shown.matches(part).count() >= *least, || {
            format!("less than {least} times {part:?}:\n{shown}")
        })?;
    }
    links_lead_somewhere(page, &text)?;
    messages_are_said(&text)
}

/// A message as the library has it, which names `--some-option` as the field `some_option`.
fn with_fields(message: &str) -> String {
    let field = |word: &str| word.strip_prefix("--").map(|option| format!("`{}`", option.replace('-', "_")));
    let words = message.split(' ').map(|word| {
        let end = word.trim_end_matches([',', ':', ';', '.']);
        field(end).map_or(word.to_owned(), |field| field + &word[end.len()..])
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Headings that are code are messages: each is somewhere in the program's text.
fn messages_are_said(page: &str) -> Outcome {
    let messages = page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    let parts: Vec<&str> = messages.flat_map(|message| message.split('…')).map(str::trim).collect();
    let sources = if parts.is_empty() { String::new() } else { sources(Path::new("src"))? };
    let said = |part: &str| sources.contains(part) || sources.contains(&with_fields(part));
    let unsaid: Vec<&&str> = parts.iter().filter(|part| !said(part)).collect();
    check(unsaid.is_empty(), || format!("no message has {unsaid:?}"))
}

/// All of the program's text.
fn sources(folder: &Path) -> Outcome<String> {
    let mut all = String::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))? {
        let path = entry?.path();
        all += &if path.is_dir() {
            sources(&path)?
        } else {
            String::from_utf8_lossy(&fs::read(&path)?).into_owned()
        };
    }
    Ok(all)
}

fn links_lead_somewhere(page: &Path, text: &str) -> Outcome {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.contains("://")) {
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        let target = if file.is_empty() { page.to_owned() } else { page.with_file_name(file) };
        check(target.exists(), || format!("{link} leads nowhere"))?;
        let found =
            heading.is_empty() || fs::read_to_string(&target)?.lines().any(|line| anchor(line) == heading);
        check(found, || format!("{link}: no such heading"))?;
    }
    Ok(())
}

/// What a heading is called in links.
fn anchor(line: &str) -> String {
    let title = line.trim_start_matches('#');
    let known = title.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    if title == line { String::new() } else { known.collect::<String>().to_lowercase().replace(' ', "-") }
}
