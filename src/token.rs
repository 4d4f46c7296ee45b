//! A secret word in a file: the ACL token that Consul is asked with, or that of the admin server.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use hyper::header::HeaderValue;

use crate::aside::Aside;

/// The longest token, in bytes. Those of Consul have 36.
const TOKEN: u64 = 4096;

/// A file that holds a token. It is read for each request, so what is in it may be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFile(pub PathBuf);

/// A token, or why there is none: in words that do not show what is in the file.
pub(crate) type TokenResult = Result<HeaderValue, String>;

// === impl TokenFile ===

impl TokenFile {
    /// The token as it is in the file now, without space around it. `Debug` does
    /// not show it.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn read(&self) -> TokenResult {
        let path = self.0.display();
        let mut text = String::new();
        let read = fs::metadata(&self.0).and_then(|file| match file.is_file() {
            true => File::open(&self.0)?.take(TOKEN + 1).read_to_string(&mut text),
            false => Err(io::Error::other("it is not a file")),
        });
        let token = match read {
            Ok(_) => text.trim(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => "\0",
            Err(error) => return Err(format!("cannot read {path}: {error}")),
        };
        if token.is_empty() {
            return Err(format!("{path} is empty"));
        }
        let one = token.len() as u64 <= TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic());
        match HeaderValue::from_str(token) {
            Ok(mut value) if one => {
                value.set_sensitive(true);
                Ok(value)
            }
            _ => Err(format!("{path} holds something else than one token")),
        }
    }

    /// The same, for who must not wait for a file system.
    ///
    /// # Errors
    /// As of [`TokenFile::read`], and that the file system does not answer.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a reading that has begun to the thread.
    pub(crate) async fn read_aside(&self, tokens: &Aside<TokenResult>) -> TokenResult {
        let file = self.clone();
        tokens.read(move || file.read()).await.unwrap_or_else(|| {
            Err(format!("cannot read {}: its file system does not answer", self.0.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_the_file_is_now_and_never_shown() {
        let path = std::env::temp_dir().join(format!("ganger-token-{}", std::process::id()));
        let file = TokenFile(path.clone());
        for (content, expected) in [
            (&b"5f2a-hunter2\n"[..], Ok("5f2a-hunter2")),
            (b"  other ", Ok("other")),
            (b"", Err("is empty")),
            (b" \n", Err("is empty")),
            (b"hunter2\nhunter3", Err("something else than one token")),
            (b"hunter2 3", Err("something else than one token")),
            (b"hunter2\xff", Err("something else than one token")),
            (&[b'x'; 5000], Err("something else than one token")),
        ] {
            fs::write(&path, content).unwrap();
            match (file.read(), expected) {
                (Ok(token), Ok(expected)) => {
                    assert_eq!(token.to_str().unwrap(), expected);
                    assert!(!format!("{token:?}{file:?}").contains(expected));
                }
                (Err(why), Err(expected)) => {
                    assert!(why.contains(expected) && !why.contains("hunter"), "{why}");
                }
                (read, expected) => panic!("{content:?}: {read:?}, not {expected:?}"),
            }
        }
        fs::remove_file(&path).unwrap();
        assert!(file.read().unwrap_err().contains("No such file"));
        assert!(TokenFile("/".into()).read().unwrap_err().contains("it is not a file"));
    }
}
