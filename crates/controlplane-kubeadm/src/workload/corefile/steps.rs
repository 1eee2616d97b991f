//! The versions of CoreDNS in order, each with what its Corefile has to give up. Facts published by the CoreDNS project in
//! its release notes and deprecation schedule; a version that is not here is not migrated to or from.

/// A change that a version asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Rule {
    /// The plugin does not know this option any more.
    DropOption {
        /// The plugin.
        plugin: &'static str,
        /// The option.
        option: &'static str,
    },
    /// Only the first argument of the option counts.
    FirstArgumentOnly {
        /// The plugin.
        plugin: &'static str,
        /// The option.
        option: &'static str,
    },
    /// The option belongs into the plugin, unless it is there.
    NewDefault {
        /// The plugin.
        plugin: &'static str,
        /// The words of the option.
        option: &'static [&'static str],
    },
    /// Zone transfers of the plugin `kubernetes` are a plugin of their own.
    TransferOptionToPlugin,
}

const ONE_ENDPOINT: Rule = Rule::FirstArgumentOnly {
    plugin: "kubernetes",
    option: "endpoint",
};

/// Versions, oldest first, with the rules that hold from there on.
pub const STEPS: &[(&str, &[Rule])] = &[
    ("1.6.7", &[]),
    ("1.6.9", &[]),
    (
        "1.7.0",
        &[
            ONE_ENDPOINT,
            Rule::DropOption {
                plugin: "kubernetes",
                option: "resyncperiod",
            },
            Rule::DropOption {
                plugin: "kubernetes",
                option: "upstream",
            },
            Rule::NewDefault {
                plugin: "forward",
                option: &["max_concurrent", "1000"],
            },
        ],
    ),
    ("1.7.1", &[]),
    ("1.8.0", &[Rule::TransferOptionToPlugin]),
    // 1.8.1 and 1.8.2 were never published as images.
    ("1.8.3", &[ONE_ENDPOINT]),
    ("1.8.4", &[]),
    ("1.8.5", &[]),
    ("1.8.6", &[]),
    ("1.8.7", &[]),
    ("1.9.0", &[]),
    ("1.9.1", &[]),
    ("1.9.2", &[]),
    ("1.9.3", &[]),
    ("1.9.4", &[ONE_ENDPOINT]),
    ("1.10.0", &[]),
    ("1.10.1", &[]),
    ("1.11.0", &[]),
    ("1.11.1", &[]),
    // 1.11.2 was never published as an image.
    ("1.11.3", &[]),
    ("1.11.4", &[]),
    ("1.12.0", &[]),
    ("1.12.1", &[]),
    ("1.12.2", &[]),
    ("1.12.3", &[]),
    ("1.12.4", &[]),
    ("1.13.0", &[]),
    ("1.13.1", &[]),
    ("1.13.2", &[]),
    ("1.14.0", &[]),
    ("1.14.1", &[]),
    ("1.14.2", &[ONE_ENDPOINT]),
];
