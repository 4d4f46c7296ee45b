//! Advice names settings of a configuration. Where there is none, it has to name options.

/// Settings, each with the option that stands for it.
const OPTIONS: [(&str, &str); 7] = [
    ("image", "--image"),
    ("port", "--port"),
    ("command", "-- COMMAND"),
    ("network", "--network"),
    ("runtime", "--runtime"),
    ("url", "--docker"),
    ("timeouts.start", "--timeout"),
];

/// The advice on an image that is measured without a configuration.
pub(super) fn by_options(said: &str) -> String {
    let (mut text, mut without) = (String::new(), Vec::new());
    for (at, part) in said.split('`').enumerate() {
        // Every other part is in quotes.
        if at % 2 == 0 {
            text += part;
            continue;
        }
        let (setting, value) = part.split_once(": ").unwrap_or((part, ""));
        match OPTIONS.iter().find(|(known, _)| *known == setting) {
            Some((_, option)) => text += format!("`{option} {value}`").replace(" `", "`").as_str(),
            None => {
                text += &format!("`{part}`");
                if is_setting(setting) && !without.contains(&setting) {
                    without.push(setting);
                }
            }
        }
    }
    if !without.is_empty() {
        text += &format!(
            "; bench has no option for `{}`: measure a service of a configuration that sets it, with \
             --config and --service",
            without.join("`, `")
        );
    }
    text
}

/// Neither a command, nor a value such as `Auto`.
fn is_setting(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || "._".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_options_and_those_without_one_are_named() {
        for (said, by) in [
            ("no container engine", "no container engine"),
            ("raise `timeouts.start`", "raise `--timeout`"),
            ("see `network`: none", "see `--network`: none"),
            ("`network: Sealed` leaves", "`--network Sealed` leaves"),
            ("or `Auto`, `docker pull x:1`", "or `Auto`, `docker pull x:1`"),
        ] {
            assert_eq!(by_options(said), by);
        }
        let both = by_options("check `ready` and `port`: `limits.memory`, `ready`");
        assert!(both.starts_with("check `ready` and `--port`"), "{both}");
        assert!(both.contains("no option for `ready`, `limits.memory`: measure"), "{both}");
    }
}
