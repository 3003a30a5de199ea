internal import Checkpoints
internal import StrictJSON
internal import TensorCore

extension TensorSource {
    /// The expression as JSON: one member that names the operation.
    var planJSON: JSONValue {
        switch self {
        case .extent(let extent): node("extent", extent.planJSON)
        case .strided(let view):
            node(
                "strided",
                [
                    .init("element_nbytes", .integer(view.elementByteCount)),
                    .init("element_offset", .integer(view.elementOffset)), .init("shape", list(view.shape)),
                    .init("strides", list(view.strides)), .init("of", view.storage.planJSON),
                ])
        case .concatenated(let join):
            node(
                "concatenated",
                [
                    .init("axis", .integer(join.axis)), .init("shape", list(join.shape)),
                    .init("of", .array(join.parts.map(\.source.planJSON))),
                ])
        case .cast(let inner, let from, let to, let overflow):
            node(
                "cast",
                [
                    .init("from", .string(from.name)), .init("to", .string(to.name)),
                    .init("overflow", .string(overflow == .saturate ? "saturate" : "special")),
                    .init("of", inner.planJSON),
                ])
        case .byteSwapped(let inner, let width):
            node("byte_swapped", [.init("width", .integer(width)), .init("of", inner.planJSON)])
        case .signFlipped(let inner, let byte, let step):
            node(
                "sign_flipped",
                [.init("byte", .integer(byte)), .init("every", .integer(step)), .init("of", inner.planJSON)])
        case .filled(let pattern, let byteCount):
            node(
                "filled",
                [
                    .init("pattern", .array(pattern.map { .integer($0) })),
                    .init("nbytes", .integer(byteCount)),
                ])
        case .lowRank(let update):
            node(
                "low_rank",
                [
                    .init("dtype", .string(update.dtype.name)), .init("shape", list(update.shape)),
                    .init("scale", .number("\(Double(update.scale))")),
                    .init("rounds_update", .bool(update.roundsUpdate)),
                    .init("base", update.base.source.planJSON),
                    .init("b", update.b.source.planJSON), .init("a", update.a.source.planJSON),
                ])
        case .blockDequantised(let blocks):
            node(
                "block_dequantised",
                [
                    .init("dtype", .string(blocks.dtype.name)), .init("shape", list(blocks.shape)),
                    .init("block", list(blocks.block)), .init("origin", list(blocks.origin)),
                    .init("values", blocks.values.source.planJSON),
                    .init("scales", blocks.scales.source.planJSON),
                ])
        case .computed(let computed):
            node(
                "computed",
                [
                    .init("operation", .string(computed.operation)),
                    .init("parameters", .object(computed.parameters)),
                    .init("nbytes", .integer(computed.byteCount)),
                    .init("of", .array(computed.inputs.map(\.planJSON))),
                ])
        }
    }

    private func node(_ name: String, _ members: [JSONMember]) -> JSONValue {
        .object([.init(name, .object(members))])
    }

    private func list(_ numbers: [UInt64]) -> JSONValue { .array(numbers.map { .integer($0) }) }
}

extension Extent {
    fileprivate var planJSON: [JSONMember] {
        [
            .init("file", .string(source.name)), .init("offset", .integer(offset)),
            .init("nbytes", .integer(byteCount)),
        ]
    }
}
