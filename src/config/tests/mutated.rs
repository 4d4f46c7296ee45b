//! Whatever is done to a good file, it is read or reported, and never more.

use super::*;

/// Knuth's multiplier; the numbers only have to be many and the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides.max(1)
    }

    /// Where a character of the text starts, or its end.
    fn place(&mut self, text: &str) -> usize {
        let at = self.roll(text.len() + 1);
        (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap()
    }
}

const BITS: [&str; 28] = [
    "(", ")", "[", "]", "{", "}", ":", ",", "\"", "'", "\\", "/*", "*/", "//", "#", "!", "\n",
    "\r\n", "é", "\u{0}", "r#\"", "b'", "=", "None", "Some(", "-1", "1e999", "\t",
];

fn mutate(text: &mut String, dice: &mut Dice) {
    let at = dice.place(text);
    match dice.roll(5) {
        0 => text.truncate(at),
        1 => text.insert_str(at, BITS[dice.roll(BITS.len())]),
        _ => {
            let rest = text[at..].chars().count();
            let length: usize =
                text[at..].chars().take(dice.roll(rest.min(12) + 1)).map(char::len_utf8).sum();
            let part = text[at..at + length].to_owned();
            match dice.roll(3) {
                0 => text.replace_range(at..at + length, ""),
                1 => text.replace_range(at..at + length, BITS[dice.roll(BITS.len())]),
                _ => {
                    let to = dice.place(text);
                    text.insert_str(to, &part);
                }
            }
        }
    }
}

#[test]
fn a_mutated_file_is_read_or_reported() {
    // Comments take up most of a file, and nothing in them matters.
    let bare = |text: String| -> String {
        text.lines()
            .filter(|line| !line.trim().starts_with("//"))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    let texts = EXAMPLES.map(|name| bare(example(name)));
    let (mut read, mut reported) = (0, 0);
    for seed in 0..6000 {
        let mut dice = Dice(seed);
        let mut text = texts[dice.roll(texts.len())].clone();
        for _ in 0..=dice.roll(4) {
            mutate(&mut text, &mut dice);
        }
        match Config::parse(&text, "mutated") {
            Ok(_) => read += 1,
            Err(report) => {
                assert!(report.count() > 0, "seed {seed}: nothing reported for\n{text}");
                let shown = report.to_string();
                assert!(shown.contains("--> mutated:"), "seed {seed}: no place in\n{shown}");
                reported += 1;
            }
        }
    }
    assert!(
        read > 100 && reported > 1000,
        "read {read}, reported {reported}: the test tests little"
    );
}

/// Whatever is accepted is RON: another reader of the format would read it too.
#[test]
fn what_is_accepted_is_ron() {
    let texts = EXAMPLES.map(example);
    for seed in 0..2000 {
        let mut dice = Dice(seed);
        let mut text = texts[dice.roll(texts.len())].clone();
        mutate(&mut text, &mut dice);
        if Config::parse(&text, "mutated").is_ok()
            && let Err(error) = ron::from_str::<ron::Value>(&text)
        {
            panic!("seed {seed}: accepted, but {error}\n{text}");
        }
    }
}
