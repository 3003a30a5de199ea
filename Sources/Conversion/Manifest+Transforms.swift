internal import Checkpoints
internal import Integrity
internal import StrictJSON
internal import TensorCore

extension Manifest {
    /// What a plan does to the weights and the side files, in order.
    static func transforms(of plan: ExportPlan) -> [Transform] {
        var result = plan.checkpoint.changes.map { Transform(kind: $0.kind, parameters: $0.parameters) }
        result += plan.effects.map { effect in
            Transform(
                kind: effect.transform.kind,
                parameters: effect.transform.parameters + [.init("tensors", .integer(effect.tensorCount))])
        }
        if !plan.untiedByConfig.isEmpty {
            result.append(
                Transform(
                    kind: "untie",
                    parameters: [
                        .init("names", .array(plan.untiedByConfig.map { .string($0.string) })),
                        .init("tensors", .integer(plan.untiedByConfig.count)),
                    ]))
        }
        result += plan.outputTransforms
        for item in plan.sideFiles where item.isEdited {
            result.append(
                Transform(
                    kind: "edit",
                    parameters: [
                        .init("file", .string(item.file.name)),
                        .init("keys", .array([.string("dtype"), .string("torch_dtype")])),
                    ]))
        }
        return result
    }
}
