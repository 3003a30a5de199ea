// What the library's own declarations speak of (DType, TensorName, ByteSource, JSONValue) comes with it, so that
// `import SafeTensors` is all that a program needs.
@_exported public import StrictJSON
@_exported public import TensorCore
