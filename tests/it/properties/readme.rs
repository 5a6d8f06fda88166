//! The documentation is correct: its commands work as printed, and it names every setting.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::properties::links::pages;
use crate::support::program::{Service, command, couponry, folder, folder_with_cluster};

/// Pages whose commands are executed here.
const EXECUTED: [&str; 2] = ["README.md", "docs/tutorial.md"];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a page by its path in the repository.
pub fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// The shell commands of a page, as one script.
fn commands(page: &str) -> String {
    let text = read(page);
    let blocks = text.split("\n```sh\n").skip(1);
    blocks
        .map(|block| block.split("```").next().expect("the block has an end"))
        .collect()
}

/// Runs the commands of a page with a separate service. Returns their output and their folder.
fn run(page: &str) -> (String, TempDir) {
    let folder = folder_with_cluster();
    let service = Service::start(folder.path(), &mut couponry(folder.path()));
    let script = [&service.greeted("export "), "\n", &commands(page)];
    let work = folder.path().join("work");
    fs::create_dir(&work).expect("the folder is ours");
    let output = command("bash")
        .args(["-euo", "pipefail", "-c", &script.concat()])
        .current_dir(&work)
        .output()
        .expect("bash is installed");
    let printed = String::from_utf8(output.stdout).expect("text");
    let errors = String::from_utf8(output.stderr).expect("text");
    assert!(
        output.status.success() && errors.is_empty(),
        "{printed}{errors}"
    );
    (printed, folder)
}

/// The JSON documents among the lines.
fn documents(printed: &str) -> Vec<Value> {
    let lines = printed.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[test]
fn the_commands_of_the_readme_work_as_printed() {
    let (printed, _) = run("README.md");
    let answers = documents(&printed);
    let [first, retry] = answers.as_slice() else {
        panic!("other answers than the README describes: {printed}");
    };
    assert_eq!(
        (&first["outcome"], &retry["outcome"]),
        (&"assigned".into(), &"replayed".into())
    );
    assert_eq!(first["couponCode"], "THANKS-1");
    assert_eq!(
        (&first["couponCode"], &first["id"]),
        (&retry["couponCode"], &retry["id"])
    );
}

#[test]
fn the_commands_of_the_tutorial_work_as_printed() {
    let (printed, folder) = run("docs/tutorial.md");
    let assignments = fs::read_to_string(folder.path().join("work/assignments.csv"));
    let assignments = assignments.expect("it was written");
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines.contains(&"The import is finished"), "{printed}");
    let answers = documents(&printed);
    let [
        preview,
        validated,
        import,
        repeated,
        undoable,
        coupons,
        withdrawn,
        first,
        retry,
        statistics,
        flash,
        empty,
        from_child,
        patched,
        from_own_child,
        confirmed,
        sent,
        released,
        policy,
        again,
        availability,
        campaign,
        dry_run,
        of_code,
        of_bob,
        sets,
        workflow,
        in_use,
        by_day,
        whereabouts,
        activity,
        held,
        merged,
        erased,
        webhook,
    ] = answers.as_slice()
    else {
        panic!("other answers than the tutorial describes: {printed}");
    };
    check_imports([
        preview, validated, import, repeated, undoable, coupons, withdrawn,
    ]);
    assert!(
        lines.contains(&"line,code,reason,firstLine,cameInAt,couponSet"),
        "{printed}"
    );
    check_assigning([
        first,
        retry,
        statistics,
        flash,
        empty,
        from_child,
        patched,
        from_own_child,
    ]);
    check_life([
        confirmed,
        sent,
        released,
        policy,
        again,
        availability,
        campaign,
        dry_run,
    ]);
    assert_eq!(of_code["results"][0]["contactId"], "ann");
    assert_eq!(of_bob["results"][0]["couponCode"], "WELCOME15");
    check_sets(sets);
    assert!(assignments.contains("BIRTHDAY-000001"), "{assignments}");
    check_history([
        workflow,
        in_use,
        by_day,
        whereabouts,
        activity,
        held,
        merged,
        erased,
        webhook,
    ]);
}

fn check_assigning(
    [
        first,
        retry,
        statistics,
        flash,
        empty,
        from_child,
        patched,
        from_own_child,
    ]: [&Value; 8],
) {
    assert_eq!(
        (&first["outcome"], &retry["outcome"]),
        (&"assigned".into(), &"replayed".into())
    );
    assert_eq!(first["couponCode"], "BIRTHDAY-000001");
    assert_eq!(first["couponCode"], retry["couponCode"]);
    assert_eq!(first["id"], retry["id"]);
    let totals = fields(&statistics["totals"], ["quantity", "available", "assigned"]);
    assert_eq!(totals, [99_999, 99_998, 1]);
    assert_eq!(flash["couponCode"], "FLASH50");
    assert_eq!(empty["code"], "coupon-set-exhausted");
    assert_eq!(from_child["couponCode"], "WELCOME15");
    assert_eq!(from_child["couponSetId"], patched["childCouponSetId"]);
    assert_eq!(from_own_child["couponCode"], "WELCOME15");
}

fn check_history(
    [
        workflow,
        in_use,
        by_day,
        whereabouts,
        activity,
        held,
        merged,
        erased,
        webhook,
    ]: [&Value; 9],
) {
    assert_eq!(workflow["state"], "active");
    assert_eq!(in_use["code"], "coupon-set-in-use");
    let days = by_day["series"].as_array().expect("a list");
    let taken: i64 = days.iter().filter_map(|day| day["assigned"].as_i64()).sum();
    assert_eq!(fields(&by_day["totals"], ["assigned"]), [taken]);
    let found = &whereabouts["results"][0]["assignments"][0];
    assert_eq!(found["contactId"], "ann");
    assert_eq!(activity["results"][0]["state"], "sent");
    assert_eq!(held["contactId"], "dan");
    assert_eq!(merged["mergedInto"], "daniel@example.com");
    assert_eq!(erased["state"], "erasing");
    let secret = webhook["secret"].as_str().expect("a secret");
    assert!(secret.starts_with("whsec_"));
}

/// Available and assigned codes at the end.
fn check_sets(sets: &Value) {
    let sets = sets["results"].as_array().expect("a list");
    let counted: Vec<_> = sets
        .iter()
        .map(|set| {
            (
                set["name"].as_str().expect("a name"),
                fields(set, ["available", "assigned"]),
            )
        })
        .collect();
    let expected = [
        ("Flash sale", [0, 1]),
        ("Multiple birthday", [99_995, 4]),
        ("Welcome popup", [198, 2]),
    ];
    assert_eq!(counted, expected);
}

/// A file before it is imported, and its import.
fn check_imports(
    [
        preview,
        validated,
        import,
        repeated,
        undoable,
        coupons,
        withdrawn,
    ]: [&Value; 7],
) {
    assert_eq!(preview["encoding"], "windows-1252");
    assert_eq!(preview["codeColumn"]["name"], "Gutschein");
    assert_eq!(validated["mode"], "validate");
    assert_eq!(
        fields(import, ["total", "success", "errors"]),
        [100_000, 100_000, 0]
    );
    assert_eq!(repeated["id"], import["id"]);
    assert_eq!(fields(undoable, ["withdrawn", "kept"]), [100_000, 0]);
    assert_eq!(coupons["results"][0]["code"], "BIRTHDAY-099900");
    assert_eq!(withdrawn["results"][0]["outcome"], "withdrawn");
}

/// Reservations, policies, campaigns and tests.
fn check_life(
    [
        confirmed,
        sent,
        released,
        policy,
        again,
        availability,
        campaign,
        dry_run,
    ]: [&Value; 8],
) {
    assert_eq!(confirmed["state"], "assigned");
    assert_eq!(
        (&sent["state"], &sent["id"]),
        (&"sent".into(), &confirmed["id"])
    );
    assert_eq!(released["state"], "released");
    assert_eq!(released["events"][1]["reason"], "The mail bounced");
    assert_eq!(policy["validForDays"], 30);
    assert_eq!(again["outcome"], "alreadyAssigned");
    assert_eq!(again["couponCode"], sent["couponCode"]);
    assert_eq!(availability["sufficient"], true);
    let given = campaign["results"].as_array().expect("a list");
    assert!(
        given.iter().all(|result| result["status"] == 201),
        "{campaign}"
    );
    assert_eq!(
        (&dry_run["code"], &dry_run["test"]),
        (&"coupon-set-exhausted".into(), &true.into())
    );
}

fn fields<const N: usize>(object: &Value, names: [&str; N]) -> [i64; N] {
    names.map(|name| {
        object[name]
            .as_i64()
            .unwrap_or_else(|| panic!("no number `{name}` in {object}"))
    })
}

/// The settings in the program's help, as option and variable.
fn settings() -> Vec<(String, String)> {
    let folder = folder();
    let help = couponry(folder.path()).arg("--help").output();
    let help = String::from_utf8(help.expect("the program runs").stdout).expect("text");
    let options = help.split("\n      --").skip(1);
    let settings = options.map(|option| {
        let name = option.split([' ', '\n']).next().expect("a name");
        let (_, variable) = option.split_once("[env: ").expect("each has a variable");
        let variable = variable.split(['=', ']']).next().expect("a name");
        (format!("--{name}"), variable.to_owned())
    });
    settings.collect()
}

#[test]
fn every_setting_is_in_the_reference_and_every_one_there_exists() {
    let settings = settings();
    assert!(settings.len() >= 7, "{settings:?}");
    let page = read("docs/reference.md");
    let (_, table) = page.split_once("\n## Settings\n").expect("the section");
    let table = table.split("\n## ").next().expect("a text has a beginning");
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    for (option, variable) in &settings {
        let row = format!("| `{variable}` | `{option}` |");
        assert!(
            rows.iter().any(|line| line.starts_with(&row)),
            "no row for {variable}"
        );
    }
    assert_eq!(rows.len(), settings.len(), "{rows:#?}");
}

#[test]
fn the_files_of_a_release_name_settings_that_exist() {
    let known: Vec<String> = settings()
        .into_iter()
        .map(|(_, variable)| variable)
        .collect();
    let compose = include_str!("../../../docker-compose.yml");
    let service = compose
        .split("\n  postgres:\n")
        .next()
        .expect("it begins with the service");
    let names = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let ours =
            words.filter(|word| word.starts_with("COUPONRY_") || word.starts_with("DATABASE_URL"));
        ours.map(str::to_owned).collect()
    };
    for text in [
        service,
        include_str!("../../../Dockerfile"),
        include_str!("../../../packaging/couponry.service"),
        include_str!("../../../packaging/couponry.env"),
        include_str!("../../../charts/couponry/templates/deployment.yaml"),
        include_str!("../../../charts/couponry/templates/migrate.yaml"),
    ] {
        let names = names(text);
        assert!(names.len() > 1, "{names:?}");
        for name in names {
            // The Compose file defines the image and the address on the host.
            assert!(
                known.contains(&name)
                    || ["COUPONRY_IMAGE", "COUPONRY_PUBLISH"].contains(&name.as_str()),
                "{name} is no setting"
            );
        }
    }
    // Every variable of the example is used, and every required one is in it.
    let example = include_str!("../../../.env.example");
    let offered: Vec<&str> = example
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .map(|(name, _)| name)
        .filter(|name| !name.contains(' '))
        .collect();
    for name in &offered {
        assert!(
            compose.contains(&format!("${{{name}:")),
            "{name} is used nowhere"
        );
    }
    for needed in compose.split("${").skip(1) {
        let name = needed.split([':', '}']).next().expect("a name");
        assert!(offered.contains(&name), "{name} is not in .env.example");
    }
}

#[test]
fn the_chart_has_the_version_of_the_program_whose_image_it_names() {
    let chart = read("charts/couponry/Chart.yaml");
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        format!("version: {version}"),
        format!("appVersion: \"{version}\""),
    ] {
        assert!(chart.lines().any(|other| other == line), "{chart}");
    }
}

#[test]
fn the_readme_is_a_page_to_land_on() {
    assert!(read("README.md").len() <= 9_000);
}

#[test]
fn every_command_that_looks_executable_is_executed() {
    for page in pages() {
        let has_commands = read(&page).contains("\n```sh\n");
        assert_eq!(has_commands, EXECUTED.contains(&page.as_str()), "{page}");
    }
}
