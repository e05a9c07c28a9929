//! `trm report`, completions, man pages and threads as their users meet them.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::cli::{Outcome, Test, check, command, ran, refuse, succeed, trm};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let trials: [Test; 6] = [
        ("runs are shown over each other", two_runs),
        ("names are no HTML", hostile_names),
        ("what cannot be read is passed over and said", broken_lines),
        ("what is no run, and files that cannot be written, are refused", refused),
        ("shells complete commands, and man shows them", completions),
        ("threads can be chosen", threads),
    ];
    trials.into_iter().map(|(name, test)| Trial::test(format!("cli_report: {name}"), test)).collect()
}

/// A run of two sessions that voted on ARC, as its files say.
fn write_run(folder: &Path, lr: &str) -> Outcome {
    fs::create_dir(folder)?;
    let recipe =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/recipes/tiny-sudoku4.toml"))?;
    let recipe = recipe.lines().map(|line| match line.starts_with("lr = ") {
        true => format!("lr = {lr}\n"),
        false => format!("{line}\n"),
    });
    fs::write(folder.join("recipe.toml"), recipe.collect::<String>())?;
    let train = |step: u32, second: u32| {
        let loss = 1.0 / f64::from(step);
        format!(
            "{{\"split\":\"train\",\"step\":{step},\"lr\":0.1,\"loss\":{loss},\"steps\":null,\
             \"time\":\"2026-01-01T00:00:{second:02}.000Z\"}}\n"
        )
    };
    let test = "{\"split\":\"test\",\"step\":2,\"examples\":4,\"pass_at\":{\"1\":0.25,\"2\":0.5},\"loss\":0.5,\
                \"exact_accuracy\":0.75,\"steps\":8.0,\"time\":\"2026-01-01T00:00:40.000Z\"}\n";
    let log = [train(1, 0), train(2, 2), test.into(), train(3, 44)].concat();
    fs::write(folder.join("metrics.jsonl"), log)?;
    let start = "{\"event\":\"start\",\"time\":\"2026-01-01T00:00:00.000Z\",\"trm\":\"0.1.0\",\"commit\":\"abc\",\
                 \"step\":0,\"device\":\"Some GPU\",\"driver\":\"9.9\",\"precision\":\"f32\",\
                 \"recipe\":{\"train\":{\"global_batch_size\":64}}}\n";
    let end = "{\"event\":\"end\",\"step\":3,\"ended\":\"stopped\",\"seconds\":48.0}\n";
    let open = "{\"event\":\"open\",\"time\":\"\",\"pid\":1,\"host\":\"h\"}\n";
    fs::write(folder.join("sessions.jsonl"), [open, start, end, open, start].concat())?;
    Ok(())
}

fn two_runs() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    write_run(&folder.path().join("first"), "1e-3")?;
    write_run(&folder.path().join("second"), "2e-3")?;
    let by_step = "{\"by_step\":[{\"step\":1,\"exact_accuracy\":0.5,\"accuracy\":0.7,\"halted\":0.1}]}";
    fs::write(folder.path().join("second/eval.json"), by_step)?;
    // The second cell of the answer is wrong.
    let samples = "{\"step\":2,\"kind\":{\"puzzle\":\"own task\"},\"words\":[\"a\",\"b<c\"],\"samples\":\
                   [{\"inputs\":[1,2],\"labels\":[2,1],\"answer\":[2,2]},{\"inputs\":[1,1],\"labels\":[-100,1],\"answer\":[2,1]}]}";
    fs::write(folder.path().join("first/samples.json"), samples)?;
    let kernel = |name: &str, seconds: f64| {
        format!(
            "{{\"key\":\"kernels/own/B8/S81/train/{name}\",\"seconds\":{seconds},\"count\":2,\"flops\":1,\"bytes\":1,\
                 \"gflops\":1,\"gbytes\":1,\"adapter\":\"\",\"driver\":\"\",\"commit\":\"\"}}\n"
        )
    };
    fs::write(
        folder.path().join("first/kernels.json"),
        kernel("sum n=4", 0.001) + &kernel("product m=8", 0.25),
    )?;
    let (out, csv) = (path("report.html"), path("report.csv"));
    let printed =
        succeed(&["report", &path("first"), &path("second"), "--out", &out, "--csv", &csv, "--json"])?;
    let summary: Value = serde_json::from_str(&printed)?;
    let run = &summary["runs"][1];
    check(run["run"] == "second" && run["steps"] == 3 && run["best_step"] == 2, || printed.clone())?;
    check(run["best_exact_accuracy"] == 0.75 && run["notes"] == serde_json::json!([]), || printed.clone())?;
    let rows = fs::read_to_string(&csv)?;
    for row in [
        "run,curve,step,value",
        "first,train loss,2,0.5",
        "second,test exact_accuracy,2,0.75",
        "second,test pass@2,2,0.5",
        "second,exact_accuracy by supervision step,1,0.5",
        // Two seconds for the second step, and four for the third, which an evaluation comes before.
        "first,train samples_per_s,2,",
        "first,train samples_per_s,3,",
    ] {
        check(rows.lines().any(|line| line.starts_with(row)), || format!("no {row} in {rows}"))?;
    }
    check(!rows.contains("train steps"), || "averages over nothing were taken for numbers".into())?;
    let html = fs::read_to_string(&out)?;
    for part in [
        "pass@2",
        "Training loss",
        "<tr><td>train.lr<td>0.001<td>0.002\n",
        "<td data-of='steps'>0 to 3<td data-of='time'>48 s<td data-of='samples/s'>4<td data-of='ended'>stopped",
        "<td data-of='device'>Some GPU (9.9)<",
        "<td data-of='ended'>killed, or still at work\n",
        "first, after 2 training steps",
        "<p>wrong in 1 of 2 cells\n",
        "<p>right\n",
        ">b&lt;c<",
        "Time of a step by kernel",
        "<td>product m=8<td>500.000<td>",
    ] {
        check(html.contains(part), || format!("no {part} in {html}"))?;
    }
    check(!html.contains("b<c"), || html.clone())?;
    let drawn = html.matches("<polyline").count();
    // Accuracy, two passes, losses, steps and pace of two runs; by supervision step, of one.
    check(drawn == 2 * 7 + 2, || format!("{drawn} curves"))?;
    for outside in ["http:", "https:", "<script", "src="] {
        check(!html.contains(outside), || format!("{outside} in the page"))?;
    }
    // A legend beside each chart of both, and the table above; the first curve is drawn through the gaps of the second.
    let legends = html.matches("<i class=c1>").count();
    check(legends == 1 + 7, || format!("{legends} legends"))?;
    check(html.contains("stroke-dasharray:10 0}") && html.contains("stroke-dasharray:10 5}"), || {
        html.clone()
    })?;
    // The same run by another name is no second one.
    let again = succeed(&["report", &path("first"), &path("first/../first"), "--csv", &csv])?;
    check(again.matches("75.0 %").count() == 1, || again)
}

fn hostile_names() -> Outcome {
    let folder = tempfile::tempdir()?;
    let name = if cfg!(windows) { "a&b" } else { "<img src=x>&\"" };
    let run = folder.path().join(name);
    write_run(&run, "1e-3")?;
    let out = folder.path().join("report.html").to_string_lossy().into_owned();
    succeed(&["report", &run.to_string_lossy(), "--out", &out])?;
    let html = fs::read_to_string(&out)?;
    check(!html.contains("<img") && html.contains("&amp;"), || html)
}

fn broken_lines() -> Outcome {
    let folder = tempfile::tempdir()?;
    let run = folder.path().join("run");
    write_run(&run, "1e-3")?;
    let log = fs::read(run.join("metrics.jsonl"))?;
    let back = b"{\"split\":\"back-off\",\"step\":3,\"lr_halvings\":1,\"time\":\"soon\"}\n";
    fs::write(run.join("metrics.jsonl"), [&log[..], b"\0\xff\n", back, b"{\"split\":\"tr"].concat())?;
    fs::write(run.join("recipe.toml"), "[train]\nspeed = 3\n")?;
    fs::write(run.join("sessions.jsonl"), "{\"event\":\"start\"}\n")?;
    fs::write(run.join("eval.json"), "{}")?;
    fs::write(run.join("samples.json"), "{}")?;
    fs::write(run.join("kernels.json"), "no\n")?;
    let out = folder.path().join("report.html").to_string_lossy().into_owned();
    let ran = trm(&["report", &run.to_string_lossy(), "--out", &out])?;
    check(ran.code == 0, || ran.stderr.clone())?;
    let html = fs::read_to_string(&out)?;
    for part in [
        "passed over 2 of 7 lines, which are no lines of a log, from line 5 on",
        "run: went back to step 3",
        "train.speed: is no key of a recipe",
        "passed over 1 of 1 lines, which tell of no session",
        "missing field `by_step`",
        "samples.json: missing field `step`",
        "kernels.json: line 1 is no measurement",
    ] {
        check(ran.stderr.contains(part), || format!("no {part} in {}", ran.stderr))?;
        check(html.contains(part), || format!("no {part} in {html}"))?;
    }
    check(html.contains("Training loss"), || html)
}

fn refused() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    write_run(&folder.path().join("run"), "1e-3")?;
    refuse(&["report", &path("run")], 2, &["--out"])?;
    for argument in ["--out", "--csv"] {
        let log = path("run/metrics.jsonl");
        refuse(&["report", &path("run"), argument, &log], 2, &["is there, and nothing that this writes"])?;
        succeed(&["report", &path("run"), argument, &path("twice")])?;
        succeed(&["report", &path("run"), argument, &path("twice")])?;
        fs::remove_file(path("twice"))?;
    }
    refuse(&["report", "--out", &path("a.html")], 2, &["RUN"])?;
    refuse(
        &["report", &path("nothing"), "--out", &path("a.html")],
        2,
        &["nothing: no such file or folder; name"],
    )?;
    refuse(
        &["report", &path("run/metrics.jsonl"), "--out", &path("a.html")],
        2,
        &["metrics.jsonl: is no folder; name the folder of a run"],
    )?;
    refuse(
        &["report", &path(""), "--out", &path("a.html")],
        2,
        &["metrics.jsonl: no such file or folder; name the folder of a run"],
    )?;
    refuse(&["report", &path("run"), "--out", &path("run")], 2, &["--out: ", " is a folder"])?;
    refuse(&["report", &path("run"), "--csv", &path("no/a.csv")], 2, &["--csv: ", "does not exist"])?;
    let twice = ["report", &path("run"), "--csv", &path("a"), "--out", &path("a")];
    refuse(&twice, 2, &["--csv: is the file of --out"])
}

fn completions() -> Outcome {
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef trm"),
        ("fish", "complete -c trm"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = succeed(&["completions", shell])?;
        let knows = script.contains(part) && script.contains("augment");
        check(knows, || format!("{shell}: {script}"))?;
    }
    refuse(&["completions", "cmd"], 2, &["'cmd'", "powershell"])?;
    let folder = tempfile::tempdir()?;
    let pages = folder.path().join("man/man1");
    succeed(&["man", &pages.to_string_lossy()])?;
    let page = |name: &str| fs::read_to_string(pages.join(name));
    check(page("trm.1")?.contains(".TH trm 1"), || "trm.1 has no title".into())?;
    let nested = page("trm-data-sudoku.1")?;
    check(nested.contains("num\\-aug") && nested.contains("trm data sudoku \\-\\-generate"), || nested)?;
    // As a folder of man pages of others is.
    fs::write(pages.join("ls.1"), "")?;
    succeed(&["man", &pages.to_string_lossy()])?;
    refuse(&["man", &pages.join("ls.1").to_string_lossy()], 1, &["ls.1: "])
}

fn threads() -> Outcome {
    let devices = |args: &[&str], variable: &str| -> Outcome<String> {
        let mut command = command(args);
        let ran = ran(command.env("RAYON_NUM_THREADS", variable).output()?);
        check(ran.code == 0, || ran.stderr)?;
        Ok(ran.stdout)
    };
    for args in [["devices", "--threads", "3"], ["--threads", "3", "devices"]] {
        let listed = devices(&args, "5")?;
        check(listed.contains("CPU engine, 3 threads"), || listed)?;
    }
    let listed = devices(&["devices"], "5")?;
    check(listed.contains("CPU engine, 5 threads"), || listed)?;
    refuse(&["devices", "--threads", "0"], 2, &["'--threads", "trm devices --help"])?;
    refuse(&["--threads", "2", "plan", "--batch", "0"], 2, &["--batch", "trm plan --help"])?;
    refuse(&["devices", "--threads", "5000000"], 2, &["--threads: is 5000000; give a number up to "])
}
