public import SafeTensors
public import TensorCore

/// What a caller can choose about reading.
public struct ReadOptions: Sendable {
    /// The key of the nested dictionary that holds the weights, with dots between levels; nil to find it.
    public var root: String?
    /// How strictly SafeTensors headers are judged.
    public var validation: ValidationMode
    /// Whether the elements of BOOL tensors are looked at for values that BOOL does not have.
    public var scansValues: Bool
    /// Whether pickled objects of unknown classes are taken as records of their attributes, so that whole
    /// modules can be read.
    public var allowsOpaque = false
    /// Whether tensors that cannot be represented are left out, and listed, rather than an error.
    public var skipsUnsupported = false
    /// Whether the checkpoint is only to be looked at, so that what cannot be represented is listed as left out.
    public var listsUnsupported = false
    /// The dtype of NumPy elements whose own dtype was lost (`V2`, `V1`), as for bfloat16 and float8.
    public var voidDType: DType?
    /// Which of two copies of the weights is taken, where a trainer keeps both; nil for the master weights, or
    /// what there is.
    public var precision: Precision?

    /// What tensors are called; nil for what the format does by itself, which is the names of transformers where
    /// it tells what model it holds, and those that it has otherwise.
    public var names: Names?

    /// Names of tensors.
    public enum Names: Sendable, Equatable {
        /// Those that the source has.
        case stored
        /// Those of a scheme of `Formats/architectures`, such as `hf`.
        case scheme(String)
    }

    /// Copies of the weights that trainers keep.
    public enum Precision: String, Sendable, CaseIterable {
        /// The optimizer's, usually F32.
        case master
        /// The model's, in the dtype that it computes in.
        case model
    }

    /// Makes options.
    public init(root: String? = nil, validation: ValidationMode = .strict, scansValues: Bool = false) {
        self.root = root
        self.validation = validation
        self.scansValues = scansValues
    }
}
