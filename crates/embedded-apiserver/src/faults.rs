//! Ways in which a server can be wrong, for the tests that prove the conformance suite catches each of them.
//!
//! A fault is switched on for the thread of a test (`tests::with`). Outside of this crate's own tests [`broken`] is a constant
//! `false`: nothing of this is in a program.

/// One way to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An update of an outdated version goes through.
    StaleUpdate,
    /// A watch tells nothing about modifications.
    LostEvent,
    /// Defaults of custom resources are not filled in.
    SkippedDefault,
    /// Unknown fields of custom resources are kept.
    NoPruning,
    /// Deletions do not wait for finalizers.
    LostFinalizer,
    /// Every writer is recorded under one name.
    WrongManager,
    /// Preconditions of deletions are not looked at.
    IgnoredPreconditions,
    /// Webhooks are not asked.
    SkippedAdmission,
    /// Webhooks that fail are passed over.
    FailsOpen,
    /// Mutating webhooks are not asked again after others changed the object.
    NoReinvocation,
    /// Everybody may list everything.
    RbacHole,
    /// Permissions may be granted that one does not have.
    Escalation,
    /// Everybody may approve certificates.
    OpenApproval,
    /// The last object is missing in lists.
    StaleList,
    /// What is not found has another reason.
    WrongReason,
    /// A watch from a version that is gone ends without a word.
    MissingExpiry,
    /// Bookmarks tell an old version.
    OldBookmark,
    /// Rules written in CEL are not evaluated.
    SkippedRules,
    /// Dry runs are stored.
    StoredDryRun,
    /// Every apply is forced.
    ForcedApply,
    /// Lists are replaced by strategic merge patches.
    ReplacedLists,
    /// The main resource changes the status.
    OpenStatus,
    /// The generation never changes.
    StuckGeneration,
    /// Label selectors select everything.
    IgnoredSelector,
    /// Warnings are not sent.
    LostWarnings,
    /// Lists are never cut.
    IgnoredLimit,
    /// Objects keep the version in which they were stored.
    NoConversion,
    /// Evictions do not ask budgets.
    IgnoredBudget,
    /// How dependents shall be treated is not noted.
    IgnoredPropagation,
    /// Objects are created in namespaces that are not there.
    NoNamespaces,
    /// Duplicates in sets and maps are let through.
    Duplicates,
    /// Built-in kinds are not validated.
    UncheckedKinds,
    /// Anybody may act as anybody.
    OpenImpersonation,
    /// Unknown fields are never refused.
    LaxFields,
    /// Bodies of other kinds are taken.
    AnyKind,
}

/// Whether this server is broken in this way.
#[cfg(not(test))]
pub(crate) const fn broken(_: Fault) -> bool {
    false
}

#[cfg(test)]
pub(crate) use tests::broken;
#[cfg(test)]
mod tests;
