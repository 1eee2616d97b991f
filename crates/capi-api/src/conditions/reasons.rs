//! The condition reasons of the wire format that more than one controller uses, and those of the core kinds.

macro_rules! words {
    ($($name:ident = $word:literal;)*) => {
        $(#[doc = concat!("`", $word, "`")] pub const $name: &str = $word;)*
    };
}

words! {
    AVAILABLE = "Available";
    NOT_AVAILABLE = "NotAvailable";
    AVAILABLE_UNKNOWN = "AvailableUnknown";
    READY = "Ready";
    NOT_READY = "NotReady";
    READY_UNKNOWN = "ReadyUnknown";
    UP_TO_DATE = "UpToDate";
    NOT_UP_TO_DATE = "NotUpToDate";
    UP_TO_DATE_UNKNOWN = "UpToDateUnknown";
    ROLLING_OUT = "RollingOut";
    NOT_ROLLING_OUT = "NotRollingOut";
    ROLLING_OUT_UNKNOWN = "RollingOutUnknown";
    SCALING_UP = "ScalingUp";
    NOT_SCALING_UP = "NotScalingUp";
    SCALING_UP_UNKNOWN = "ScalingUpUnknown";
    SCALING_DOWN = "ScalingDown";
    NOT_SCALING_DOWN = "NotScalingDown";
    SCALING_DOWN_UNKNOWN = "ScalingDownUnknown";
    REMEDIATING = "Remediating";
    NOT_REMEDIATING = "NotRemediating";
    DELETING = "Deleting";
    NOT_DELETING = "NotDeleting";
    DELETION_COMPLETED = "DeletionCompleted";
    PAUSED = "Paused";
    NOT_PAUSED = "NotPaused";
    NO_REPLICAS = "NoReplicas";
    NO_WORKERS = "NoWorkers";
    WAITING_FOR_REPLICAS_SET = "WaitingForReplicasSet";
    WAITING_FOR_AVAILABLE_REPLICAS_SET = "WaitingForAvailableReplicasSet";
    WAITING_FOR_MIN_READY_SECONDS = "WaitingForMinReadySeconds";
    INTERNAL_ERROR = "InternalError";
    INSPECTION_FAILED = "InspectionFailed";
    CONNECTION_DOWN = "ConnectionDown";
    OBJECT_DOES_NOT_EXIST = "ObjectDoesNotExist";
    OBJECT_DELETED = "ObjectDeleted";
    INVALID_CONDITION_REPORTED = "InvalidConditionReported";
    NOT_YET_REPORTED = "NotYetReported";
    NO_REASON_REPORTED = "NoReasonReported";
    INITIALIZED = "Initialized";
    NOT_INITIALIZED = "NotInitialized";
    PROBE_SUCCEEDED = "ProbeSucceeded";
    PROBE_FAILED = "ProbeFailed";
    WAITING_FOR_BEFORE_DELETE_HOOK = "WaitingForBeforeDeleteHook";
    WAITING_FOR_WORKERS_DELETION = "WaitingForWorkersDeletion";
    WAITING_FOR_CONTROL_PLANE_DELETION = "WaitingForControlPlaneDeletion";
    WAITING_FOR_INFRASTRUCTURE_DELETION = "WaitingForInfrastructureDeletion";
    WAITING_FOR_BOOTSTRAP_DELETION = "WaitingForBootstrapDeletion";
    WAITING_FOR_MACHINE_DELETION = "WaitingForMachineDeletion";
    WAITING_FOR_PRE_DRAIN_HOOK = "WaitingForPreDrainHook";
    DRAINING_NODE = "DrainingNode";
    WAITING_FOR_VOLUME_DETACH = "WaitingForVolumeDetach";
    WAITING_FOR_PRE_TERMINATE_HOOK = "WaitingForPreTerminateHook";
    DELETING_NODE = "DeletingNode";
    DATA_SECRET_PROVIDED = "DataSecretProvided";
    NODE_READY = "NodeReady";
    NODE_NOT_READY = "NodeNotReady";
    NODE_READY_UNKNOWN = "NodeReadyUnknown";
    NODE_HEALTHY = "NodeHealthy";
    NODE_NOT_HEALTHY = "NodeNotHealthy";
    NODE_HEALTHY_UNKNOWN = "NodeHealthyUnknown";
    NODE_DOES_NOT_EXIST = "NodeDoesNotExist";
    NODE_DELETED = "NodeDeleted";
    UPDATING = "Updating";
    NOT_UPDATING = "NotUpdating";
    IN_PLACE_UPDATING = "InPlaceUpdating";
    IN_PLACE_UPDATE_FAILED = "InPlaceUpdateFailed";
    WAITING_FOR_REMEDIATION = "WaitingForRemediation";
    HEALTH_CHECK_SUCCEEDED = "HealthCheckSucceeded";
    UNHEALTHY_NODE = "UnhealthyNode";
    UNHEALTHY_MACHINE = "UnhealthyMachine";
    NODE_STARTUP_TIMEOUT = "NodeStartupTimeout";
    HAS_REMEDIATE_ANNOTATION = "HasRemediateAnnotation";
    REMEDIATION_TEMPLATE_NOT_FOUND = "RemediationTemplateNotFound";
    REMEDIATION_REQUEST_CREATION_FAILED = "RemediationRequestCreationFailed";
    REMEDIATION_ALLOWED = "RemediationAllowed";
    TOO_MANY_UNHEALTHY = "TooManyUnhealthy";
    APPLIED = "Applied";
    NOT_APPLIED = "NotApplied";
    WRONG_SECRET_TYPE = "WrongSecretType";
    CANNOT_BE_REMEDIATED = "CannotBeRemediated";
    REMEDIATION_DEFERRED = "RemediationDeferred";
    MACHINE_DELETING = "MachineDeleting";
}

/// The message that goes with [`INTERNAL_ERROR`].
pub const CHECK_LOGS: &str = "Please check controller logs for errors";
