public import TensorCore

/// What a verification found and how much it looked at.
public struct VerificationReport: Sendable {
    /// What the whole comes to.
    public enum Verdict: String, Sendable {
        /// Every byte was read and is what the record says.
        case verified
        /// Something is proven wrong.
        case failed
        /// Nothing wrong was found, but there is no record to compare all contents with.
        case undecided
        /// Something could not be read, so nothing is proven.
        case unreadable
    }

    /// The path that was asked about.
    public var path: String
    /// What contents were compared with, such as `artifact-manifest.json`; nil for nothing.
    public var record: String?
    /// What was found, worst first in the order of the files.
    public var findings: [Finding]
    /// Files looked at.
    public var fileCount: Int
    /// Tensors looked at.
    public var tensorCount: Int
    /// Bytes that were read and digested.
    public var byteCount: UInt64

    /// Makes a report.
    public init(
        path: String, record: String?, findings: [Finding] = [], fileCount: Int = 0, tensorCount: Int = 0,
        byteCount: UInt64 = 0
    ) {
        self.path = path
        self.record = record
        self.findings = findings
        self.fileCount = fileCount
        self.tensorCount = tensorCount
        self.byteCount = byteCount
    }

    /// The verdict: proven wrong weighs most, then what could not be read, then what has no record.
    public var verdict: Verdict {
        if findings.contains(where: { $0.severity == .error }) { return .failed }
        if findings.contains(where: { $0.severity == .unreadable }) { return .unreadable }
        if findings.contains(where: { $0.severity == .undecided }) { return .undecided }
        return .verified
    }

    /// One thing that was found.
    public struct Finding: Sendable, Equatable {
        /// How it weighs.
        public enum Severity: String, Sendable {
            /// Proven wrong.
            case error
            /// Could not be looked at.
            case unreadable
            /// No record to judge by.
            case undecided
            /// Legal, but odd.
            case warning
        }

        /// How it weighs.
        public var severity: Severity
        /// A stable identifier, such as `tensor-altered`.
        public var code: String
        /// The file, relative to the directory.
        public var file: String?
        /// The tensor.
        public var tensor: TensorName?
        /// The byte offset in the file.
        public var offset: UInt64?
        /// One sentence without a full stop.
        public var message: String

        /// Makes a finding.
        public init(
            _ severity: Severity, _ code: String, _ message: String, file: String? = nil,
            tensor: TensorName? = nil, offset: UInt64? = nil
        ) {
            self.severity = severity
            self.code = code
            self.message = message
            self.file = file
            self.tensor = tensor
            self.offset = offset
        }
    }
}
