//! A launch that failed, in parts: for programs that show them and should not parse a text.

use std::fmt;
use std::sync::Arc;

use super::{LaunchError, PostMortem};

/// The phase in which a launch failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LaunchPhase {
    /// Fetching the image.
    Pull,
    /// Creating the container, and what it needs beside it.
    Create,
    /// Starting it.
    Start,
    /// Waiting until it can serve.
    Ready,
}

/// The findings about a launch that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchFindings {
    /// The phase in which it failed.
    pub phase: LaunchPhase,
    /// The error in words, without the post-mortem of the container.
    pub error: Arc<str>,
    /// The setting to look at, or what is wrong with the daemon.
    pub hint: Option<Arc<str>>,
    /// The engine's id of the container, if that was created.
    pub container: Option<Arc<str>>,
    /// The post-mortem of the container, if there was one.
    pub post_mortem: Option<PostMortem>,
}

// === impl LaunchPhase ===

impl fmt::Display for LaunchPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pull => "pull",
            Self::Create => "create",
            Self::Start => "start",
            Self::Ready => "ready",
        })
    }
}

// === impl LaunchFindings ===

impl LaunchFindings {
    /// The findings from an error and the post-mortem of the container.
    #[must_use]
    pub fn new(error: &LaunchError, post_mortem: Option<PostMortem>) -> Self {
        let seen = post_mortem.as_ref();
        let hint = error.hint.as_deref().or(seen.and_then(|seen| seen.hint.as_deref()));
        let container =
            error.container.as_deref().or(seen.and_then(|seen| seen.container.as_deref()));
        Self {
            phase: error.phase,
            error: error.message.as_str().into(),
            hint: hint.map(Arc::from),
            container: container.map(Arc::from),
            post_mortem,
        }
    }
}
