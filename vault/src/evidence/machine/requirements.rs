//! What of a requirement this software supports, and which file of the bundle shows it. In our words: the standard's are not ours to copy.

/// One supported requirement.
pub(super) struct Supported {
    /// Its number.
    pub(super) number: &'static str,
    /// How the software supports it.
    pub(super) how: &'static str,
    /// The file that shows it.
    pub(super) file: &'static str,
}

impl Supported {
    /// As OSCAL names it.
    pub(super) fn control(&self) -> String {
        format!("pci-dss-{}", self.number)
    }
}

const fn supports(number: &'static str, how: &'static str, file: &'static str) -> Supported {
    Supported { number, how, file }
}

pub(super) const SUPPORTED: [Supported; 25] = [
    supports("1.2.4", "Data flows are drawn from the configuration in force.", "csv/flows.csv"),
    supports("1.3.2", "Card data leaves to the hosts of registered routes only.", "csv/forwards.csv"),
    supports(
        "3.2.1",
        "Cards are kept for a stated time and reason; what is past due is counted.",
        "csv/retention.csv",
    ),
    supports("3.3.1", "Verification codes stay in memory, for one payment attempt.", "evidence.json"),
    supports("3.6.1.1", "Keys are inventoried with purpose, state and period.", "csv/keys.csv"),
    supports("3.7.4", "A data key stops to seal at the end of its period.", "csv/keys.csv"),
    supports("3.7.5", "Keys that took over from others are told by the log.", "csv/rotations.csv"),
    supports(
        "4.2.1",
        "Callers speak TLS 1.3 with client certificates; what was negotiated is counted.",
        "csv/tls.csv",
    ),
    supports("4.2.1.1", "Certificates and revocation lists in use are listed.", "csv/certificates.csv"),
    supports("6.3.2", "Components are listed from the lock file in the program.", "machine/sbom.cdx.json"),
    supports("6.5.1", "Changes of policy, tenants and keys are on the log.", "csv/changes.csv"),
    supports(
        "7.2.1",
        "Every grant is listed as policy answers it; what is not listed is denied.",
        "csv/access.csv",
    ),
    supports(
        "7.2.4",
        "People sign that they reviewed access; what changed since the bundle before is listed.",
        "csv/reviews.csv",
    ),
    supports("7.2.5", "The last use of each grant is known; unused ones are named.", "csv/access.csv"),
    supports(
        "7.2.5.1",
        "Grants of services are in the matrix that is reviewed; changes are listed.",
        "csv/access-changes.csv",
    ),
    supports(
        "8.2.1",
        "Each identity is one certificate subject; who showed which is counted.",
        "csv/certificates-seen.csv",
    ),
    supports("10.2.1", "Events are counted by the requirement that asks for them.", "csv/events.csv"),
    supports("10.2.1.4", "Refusals are counted by who and why.", "csv/refusals.csv"),
    supports(
        "10.2.1.6",
        "Starts and ends of instances are listed; missing numbers are counted.",
        "csv/instances.csv",
    ),
    supports("10.3.4", "Entries are in a signed tree; samples carry their proofs.", "log/checkpoint"),
    supports(
        "10.4.1",
        "People sign that they reviewed the log, each time since the last.",
        "csv/reviews.csv",
    ),
    supports("11.5.2", "Program, configuration and policy files are measured.", "csv/policy-files.csv"),
    supports("12.3.3", "Algorithms, protocols, keys and certificates are listed.", "machine/cbom.cdx.json"),
    supports("12.8.1", "PSPs that card data can go to are listed.", "csv/psps.csv"),
    supports(
        "12.8.4",
        "Attestations in a register are held against the routes in force.",
        "csv/psp-register.csv",
    ),
];
