import TensorCore
import Testing

@testable import Conversion

@Suite("Ties")
struct TieTests {
    private typealias Policy = TransformedTable.TiePolicy

    private func resolution(
        _ groups: [KeyValuePairs<TensorName, TransformedTable.TiePolicy>], configTies: Bool?
    ) -> TieResolution {
        TieResolution(groups: groups.map { $0.map { ($0.key, $0.value) } }, configTies: configTies)
    }

    @Test func `the first of tied names is kept, but never an output head where there is another`() {
        let ties = resolution(
            [
                ["lm_head.weight": .byConfig, "model.embed_tokens.weight": .byConfig],
                ["z": .byConfig, "b": .byConfig, "a": .byConfig],
            ], configTies: nil)
        #expect(ties.kept.map(\.dropped) == ["lm_head.weight", "z", "b"])
        #expect(ties.kept.map(\.kept) == ["model.embed_tokens.weight", "a", "a"])
        #expect(ties.untied.isEmpty)
    }

    @Test func `a head gets bytes of its own where the config says that it is not tied`() {
        let ties = resolution(
            [
                ["lm_head.weight": .byConfig, "model.embed_tokens.weight": .byConfig],
                ["a": .byConfig, "b": .byConfig],
            ], configTies: false)
        #expect(ties.kept.map(\.dropped) == ["b"])
        #expect(ties.untied == ["lm_head.weight"])
    }

    @Test func `what a transform says about a name goes before the config`() {
        let tied = resolution(
            [["lm_head.weight": .tie, "model.embed_tokens.weight": .byConfig]], configTies: false)
        #expect(tied.kept.map(\.dropped) == ["lm_head.weight"] && tied.untied.isEmpty)
        let untied = resolution(
            [["lm_head.weight": .untie, "model.embed_tokens.weight": .byConfig]], configTies: true)
        #expect(untied.kept.isEmpty && untied.untiedByTransform == ["lm_head.weight"])
    }

    @Test func `a name that is to be tied gives way even where it would be kept`() {
        let ties = resolution([["a": .tie, "b": .byConfig, "c": .byConfig]], configTies: nil)
        #expect(ties.kept.map(\.dropped) == ["a", "c"])
        #expect(ties.kept.map(\.kept) == ["b", "b"])
    }

    @Test func `a name that is left alone with its storage is written`() {
        #expect(resolution([["lm_head.weight": .tie]], configTies: true).kept.isEmpty)
        #expect(resolution([["a": .tie, "b": .untie]], configTies: true).kept.isEmpty)
    }
}
