internal import Checkpoints
internal import StrictJSON
internal import TensorCore

extension TensorSource {
    /// The expression as JSON: one member that names the operation.
    var planJSON: JSONValue {
        func node(_ name: String, _ members: [JSONMember]) -> JSONValue {
            .object([.init(name, .object(members))])
        }
        switch self {
        case .extent(let extent):
            return node("extent", extent.planJSON)
        case .strided(let view):
            return node(
                "strided",
                view.storage.planJSON + [
                    .init("element_nbytes", .integer(view.elementByteCount)),
                    .init("element_offset", .integer(view.elementOffset)),
                    .init("shape", .array(view.shape.map { .integer($0) })),
                    .init("strides", .array(view.strides.map { .integer($0) })),
                ])
        case .cast(let inner, let from, let to):
            return node(
                "cast",
                [
                    .init("from", .string(from.name)), .init("to", .string(to.name)),
                    .init("of", inner.planJSON),
                ])
        case .byteSwapped(let inner, let width):
            return node("byte_swapped", [.init("width", .integer(width)), .init("of", inner.planJSON)])
        case .signFlipped(let inner, let byte, let step):
            return node(
                "sign_flipped",
                [
                    .init("byte", .integer(byte)), .init("every", .integer(step)),
                    .init("of", inner.planJSON),
                ])
        }
    }
}

extension Extent {
    fileprivate var planJSON: [JSONMember] {
        [
            .init("file", .string(source.name)), .init("offset", .integer(offset)),
            .init("nbytes", .integer(byteCount)),
        ]
    }
}
