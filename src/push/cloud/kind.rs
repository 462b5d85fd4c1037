//! What a failure's code means for the next attempt.

/// What a failure means for whoever called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Too many calls: the same one goes through later.
    Throttled,
    /// The service, the network or the time limit: an HTTP status of 500 and above, a connection
    /// that broke, an answer that did not come or made no sense.
    Transient,
    /// What was named is not there, or not seen yet.
    NotFound,
    /// What is there is another one, or in another state.
    Conflict,
    /// The credentials do not allow it.
    Denied,
    /// The credentials have run out, or the clock is wrong: the next attempt has new ones, and the
    /// service's time.
    Expired,
    /// The account may not have more of these.
    Quota,
    /// The request makes no sense to the service.
    Invalid,
    /// Anything else; not tried again.
    Other,
}

/// Codes of which a name says too little, or the wrong thing.
const CODES: &[(&str, Kind)] = &[
    ("BandwidthLimitExceeded", Kind::Throttled),
    ("ConcurrentLimitExceeded", Kind::Throttled),
    ("ConcurrentLimitExceededException", Kind::Throttled),
    ("ConcurrentSnapshotLimitExceeded", Kind::Throttled),
    ("EC2ThrottledException", Kind::Throttled),
    ("RequestLimitExceeded", Kind::Throttled),
    ("RequestThrottled", Kind::Throttled),
    ("RequestThrottledException", Kind::Throttled),
    // EC2 says so of too many snapshots being copied at a time.
    ("ResourceLimitExceeded", Kind::Throttled),
    ("SlowDown", Kind::Throttled),
    ("Throttling", Kind::Throttled),
    ("ThrottledException", Kind::Throttled),
    ("ThrottlingException", Kind::Throttled),
    ("TooManyRequestsException", Kind::Throttled),
    ("InternalError", Kind::Transient),
    ("InternalFailure", Kind::Transient),
    ("InternalServerError", Kind::Transient),
    ("InternalServerException", Kind::Transient),
    ("PriorRequestNotComplete", Kind::Transient),
    ("RequestTimeout", Kind::Transient),
    ("RequestTimeoutException", Kind::Transient),
    ("ServiceUnavailable", Kind::Transient),
    ("ServiceUnavailableException", Kind::Transient),
    ("Unavailable", Kind::Transient),
    // An AMI deregistered a moment ago.
    ("InvalidAMIID.Unavailable", Kind::NotFound),
    ("ParameterNotFound", Kind::NotFound),
    ("ResourceNotFoundException", Kind::NotFound),
    ("ConflictException", Kind::Conflict),
    ("IdempotentParameterMismatch", Kind::Conflict),
    ("IncorrectState", Kind::Conflict),
    ("IncorrectStateException", Kind::Conflict),
    ("InvalidState", Kind::Conflict),
    ("OperationNotPermitted", Kind::Conflict),
    ("ParameterAlreadyExists", Kind::Conflict),
    ("AccessDenied", Kind::Denied),
    ("AccessDeniedException", Kind::Denied),
    ("AuthFailure", Kind::Denied),
    ("Blocked", Kind::Denied),
    ("IncompleteSignature", Kind::Denied),
    ("InvalidAccessKeyId", Kind::Denied),
    ("InvalidClientTokenId", Kind::Denied),
    ("InvalidSignatureException", Kind::Denied),
    ("MissingAuthenticationToken", Kind::Denied),
    ("MissingAuthenticationTokenException", Kind::Denied),
    ("NotAuthorized", Kind::Denied),
    ("OptInRequired", Kind::Denied),
    ("PendingVerification", Kind::Denied),
    ("SignatureDoesNotMatch", Kind::Denied),
    ("UnauthorizedException", Kind::Denied),
    ("UnauthorizedOperation", Kind::Denied),
    ("UnrecognizedClientException", Kind::Denied),
    ("ExpiredToken", Kind::Expired),
    ("ExpiredTokenException", Kind::Expired),
    ("RequestExpired", Kind::Expired),
    ("RequestTimeTooSkewed", Kind::Expired),
    ("TokenRefreshRequired", Kind::Expired),
    ("ServiceQuotaExceededException", Kind::Quota),
    ("MalformedQueryString", Kind::Invalid),
    ("MissingAction", Kind::Invalid),
    ("MissingParameter", Kind::Invalid),
    ("UnknownParameter", Kind::Invalid),
    ("UnsupportedOperation", Kind::Invalid),
    ("ValidationError", Kind::Invalid),
    ("ValidationException", Kind::Invalid),
];

/// Ends of codes, for those that no table can name: EC2 has hundreds.
const ENDS: &[(&str, Kind)] = &[
    (".NotFound", Kind::NotFound),
    (".Malformed", Kind::Invalid),
    (".Duplicate", Kind::Conflict),
    (".InUse", Kind::Conflict),
    ("NotFoundException", Kind::NotFound),
    ("LimitExceeded", Kind::Quota),
    ("LimitExceededException", Kind::Quota),
];

/// Codes that a wrong clock brings as well as a wrong key. The SDK has the same list.
const SKEW: &[&str] = &[
    "AccessDeniedException",
    "AuthFailure",
    "InvalidSignatureException",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
];

impl Kind {
    /// What a service means that answers with `status` and `code`. `is_skewed`: its clock and this
    /// machine's are further apart than a signature bears.
    pub(super) fn of(status: u16, code: &str, is_skewed: bool) -> Self {
        if is_skewed && SKEW.contains(&code) {
            return Self::Expired;
        }
        let named = CODES.iter().find(|(name, _)| *name == code);
        let ended = || ENDS.iter().find(|(end, _)| code.ends_with(end));
        match named.or_else(ended) {
            Some((_, kind)) => *kind,
            None => Self::of_status(status, code),
        }
    }

    fn of_status(status: u16, code: &str) -> Self {
        match status {
            429 => Self::Throttled,
            408 | 500.. => Self::Transient,
            402 => Self::Quota,
            401 | 403 => Self::Denied,
            404 => Self::NotFound,
            409 => Self::Conflict,
            _ if code.starts_with("Invalid") => Self::Invalid,
            400 | 405..=428 => Self::Invalid,
            _ => Self::Other,
        }
    }
}

/// True for codes that say that credentials, not the clock, have run out.
pub(super) fn says_keys_are_old(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "TokenRefreshRequired"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_ebs() {
        // The status codes and names of the service model of 2019-11-02, and of EBS's guide.
        for (status, code, kind) in [
            (403, "AccessDeniedException", Kind::Denied),
            (409, "ConflictException", Kind::Conflict),
            (400, "ConcurrentLimitExceededException", Kind::Throttled),
            (500, "InternalServerException", Kind::Transient),
            (400, "RequestThrottledException", Kind::Throttled),
            (404, "ResourceNotFoundException", Kind::NotFound),
            (402, "ServiceQuotaExceededException", Kind::Quota),
            (400, "ThrottlingException", Kind::Throttled),
            (400, "ValidationException", Kind::Invalid),
            (403, "ExpiredTokenException", Kind::Expired),
            (403, "UnrecognizedClientException", Kind::Denied),
            (403, "InvalidSignatureException", Kind::Denied),
        ] {
            assert_eq!(Kind::of(status, code, false), kind, "{code}");
        }
    }

    #[test]
    fn codes_of_ec2() {
        for (status, code, kind) in [
            (503, "RequestLimitExceeded", Kind::Throttled),
            (400, "RequestLimitExceeded", Kind::Throttled),
            (400, "ResourceLimitExceeded", Kind::Throttled),
            (500, "InternalError", Kind::Transient),
            (503, "Unavailable", Kind::Transient),
            (400, "InvalidSnapshot.NotFound", Kind::NotFound),
            (400, "InvalidAMIID.NotFound", Kind::NotFound),
            (400, "InvalidAMIID.Unavailable", Kind::NotFound),
            (400, "InvalidAMIID.Malformed", Kind::Invalid),
            (400, "InvalidAMIName.Duplicate", Kind::Conflict),
            (400, "InvalidSnapshot.InUse", Kind::Conflict),
            (400, "IncorrectState", Kind::Conflict),
            (400, "SnapshotLimitExceeded", Kind::Quota),
            (400, "InvalidParameterValue", Kind::Invalid),
            (400, "MissingParameter", Kind::Invalid),
            (401, "AuthFailure", Kind::Denied),
            (403, "UnauthorizedOperation", Kind::Denied),
            (403, "Blocked", Kind::Denied),
            (401, "OptInRequired", Kind::Denied),
            (400, "RequestExpired", Kind::Expired),
            (400, "ParameterNotFound", Kind::NotFound),
            (400, "ParameterAlreadyExists", Kind::Conflict),
            (400, "ParameterLimitExceeded", Kind::Quota),
            (400, "Throttling", Kind::Throttled),
        ] {
            assert_eq!(Kind::of(status, code, false), kind, "{code}");
        }
    }

    #[test]
    fn what_nobody_named_goes_by_its_status() {
        for (status, kind) in [
            (400, Kind::Invalid),
            (401, Kind::Denied),
            (402, Kind::Quota),
            (403, Kind::Denied),
            (404, Kind::NotFound),
            (408, Kind::Transient),
            (409, Kind::Conflict),
            (429, Kind::Throttled),
            (500, Kind::Transient),
            (502, Kind::Transient),
            (504, Kind::Transient),
            (301, Kind::Other),
        ] {
            assert_eq!(Kind::of(status, "Strange", false), kind, "{status}");
            assert_eq!(Kind::of(status, "", false), kind, "{status}");
        }
    }

    #[test]
    fn a_wrong_clock_is_cured_and_a_wrong_key_is_not() {
        for code in SKEW {
            assert_eq!(Kind::of(403, code, true), Kind::Expired, "{code}");
        }
        assert_eq!(Kind::of(403, "SignatureDoesNotMatch", false), Kind::Denied);
        assert_eq!(Kind::of(403, "UnauthorizedOperation", true), Kind::Denied);
        assert_eq!(Kind::of(403, "RequestTimeTooSkewed", false), Kind::Expired);
    }
}
