public import Checkpoints

extension Checkpoint {
    /// The checkpoint with transforms applied to its table, in order.
    ///
    /// Reads nothing. What `tie` and `untie` say is for an ``ExportPlan``, so here they change nothing.
    public func applying(_ transforms: [Transform]) throws(ConversionError) -> Checkpoint {
        let table = try TransformedTable(self, transforms, allowsUnmatched: false)
        var result = self
        result.tensors = TensorTable(table.rows.map(\.written))
        return result
    }
}
