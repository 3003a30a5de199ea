import CheckpointFormats
import Checkpoints
import StrictJSON
import TensorCore
import TestSupport
import Testing

@testable import Conversion

@Suite("Extracting adapters")
struct ExtractionTests {
    /// A matrix of given singular values, from random orthonormal vectors.
    private func matrix(_ rows: Int, _ columns: Int, _ values: [Double], seed: UInt64) -> [Float] {
        var random = SeededGenerator(seed: seed)
        func basis(_ length: Int) -> ColumnMatrix {
            var result = ColumnMatrix(rows: length, columns: values.count)
            for index in result.elements.indices {
                result.elements[index] = Double.random(in: -1...1, using: &random)
            }
            _ = result.orthonormalize()
            return result
        }
        let (left, right) = (basis(rows), basis(columns))
        var result = [Float](repeating: 0, count: rows * columns)
        for row in 0..<rows {
            for column in 0..<columns {
                var sum = 0.0
                for (number, value) in values.enumerated() {
                    sum +=
                        left.elements[number * rows + row] * value * right.elements[number * columns + column]
                }
                result[row * columns + column] = Float(sum)
            }
        }
        return result
    }

    private func difference(_ values: [Float], _ rows: Int, _ columns: Int) throws -> DifferenceMatrix {
        let shape = [UInt64(rows), UInt64(columns)]
        return try DifferenceMatrix(
            .holding(values, shape: shape), less: .filled(with: 0, dtype: .f32, shape: shape))
    }

    @Test(arguments: [(40, 60), (60, 40), (7, 500), (300, 5), (1, 9), (33, 33)], [1, 2, 3] as [UInt64])
    func `singular values and vectors are those of which the matrix is made`(size: (Int, Int), seed: UInt64)
        throws
    {
        let (rows, columns) = size
        let values = [9.0, 4, 4, 1, 0.25].prefix(min(rows, columns)).map(\.self)
        let stored = matrix(rows, columns, values, seed: seed)
        let factors = try LowRankFactors(of: difference(stored, rows, columns), rank: values.count)
        for (found, value) in zip(factors.values, values) { #expect(abs(found - value) < 1e-4) }
        for value in factors.values.dropFirst(values.count) { #expect(value < 1e-5) }
        #expect(factors.values == factors.values.sorted(by: >))
        // Vectors of values that are not noise are orthonormal.
        for basis in [factors.left, factors.right] {
            for p in values.indices {
                for q in values.indices {
                    let span = basis.elements.span
                    let product = ColumnMatrix.dot(
                        span.extracting(p * basis.rows..<(p + 1) * basis.rows),
                        span.extracting(q * basis.rows..<(q + 1) * basis.rows))
                    #expect(abs(product - (p == q ? 1 : 0)) < 1e-5)
                }
            }
        }
        let (b, a) = factors.factors(rank: values.count)
        for row in 0..<rows {
            for column in 0..<columns {
                var sum: Float = 0
                for index in values.indices {
                    sum += b[row * values.count + index] * a[index * columns + column]
                }
                #expect(abs(sum - stored[row * columns + column]) < 1e-4)
            }
        }
    }

    @Test func `what is cut off is what the smaller singular values hold`() throws {
        let values = (0..<60).map { 10 * pow(0.9, $0) }
        let stored = matrix(90, 80, values, seed: 4)
        let factors = try LowRankFactors(of: difference(stored, 90, 80), rank: 8)
        let best = values.prefix(8).reduce(0) { $0 + $1 * $1 }
        let kept = factors.values.prefix(8).reduce(0) { $0 + $1 * $1 }
        #expect(kept <= best * 1.000_01 && kept >= best * 0.9999)
    }

    private func pow(_ base: Double, _ exponent: Int) -> Double {
        (0..<exponent).reduce(1) { r, _ in r * base }
    }

    /// A base and what it becomes when differences are added to some of its tensors.
    private func pair(_ changes: [(name: String, delta: [Float])]) throws -> (
        base: OpenedModel, tuned: OpenedModel, small: SmallAdapter
    ) {
        var small = try SmallAdapter()
        small.base.add("model.layers.0.up.weight", [30, 20], seed: 11)
        small.base.add("model.layers.1.up.weight", [30, 20], seed: 12)
        let base = try small.openBase()
        var tuned = WeightsBuilder()
        for (name, record) in try base.written().sorted(by: { $0.key < $1.key }) {
            var values = try record.floats()
            for change in changes where change.name == name {
                for index in values.indices { values[index] += change.delta[index] }
            }
            tuned.add(name, record.shape, values)
        }
        let path = try tuned.write(
            "tuned", in: small.directory, weights: "model.safetensors",
            config: ("config.json", small.baseConfig))
        return (base, try AdapterFixtures.open(path), small)
    }

    @Test func `an adapter that is merged again gives the tuned weights but for the error it states`() throws
    {
        let delta = matrix(30, 20, [5, 3, 1, 0.5], seed: 2)
        let (base, tuned, small) = try pair([("model.layers.1.up.weight", delta)])
        for rank in 1...4 {
            let (model, outcomes) = try AdapterExtraction(rank: .fixed(rank)).extract(tuned, from: base)
            #expect(outcomes.map(\.name) == ["model.layers.1.up.weight"])
            let merged = try base.merging(adapter(model, "rank-\(rank)", small)).written()
            let found = try #require(merged["model.layers.1.up.weight"]).floats()
            let wanted = try #require(try tuned.written()["model.layers.1.up.weight"]).floats()
            var (missed, whole) = (0.0, 0.0)
            for index in found.indices {
                missed += Double((found[index] - wanted[index]) * (found[index] - wanted[index]))
                whole += Double(delta[index] * delta[index])
            }
            let error = (missed / whole).squareRoot()
            #expect(abs(error - outcomes[0].relativeError) < 1e-5)
            let left = [25, 9, 1, 0.25].dropFirst(rank).reduce(0, +)
            #expect(abs(error - (left / 35.25).squareRoot()) < 1e-4)
        }
    }

    private func adapter(_ model: OpenedModel, _ name: String, _ small: SmallAdapter) throws -> Adapter {
        var builder = WeightsBuilder()
        for (name, record) in try model.written() { builder.add(name, record.shape, try record.floats()) }
        let config = try #require(model.checkpoint.embedded.first)
        let text = String(
            decoding: try config.source.bytes(at: 0, count: Int(config.source.byteCount)), as: UTF8.self)
        return try Adapter(
            path: builder.write(name, in: small.directory, config: ("adapter_config.json", text)))
    }

    @Test func `an automatic rank keeps the part that is asked for and no more`() throws {
        let (base, tuned, small) = try pair([
            ("model.layers.0.up.weight", matrix(30, 20, [10, 1], seed: 2)),
            ("model.layers.1.up.weight", matrix(30, 20, [2, 2, 2], seed: 3)),
        ])
        let (model, outcomes) = try AdapterExtraction(rank: .energy(0.9, atMost: 20)).extract(
            tuned, from: base)
        #expect(outcomes.map(\.rank) == [1, 3])
        let merged = try adapter(model, "auto", small)
        #expect(merged.modules.map(\.rank) == [1, 3] && merged.modules.allSatisfy { $0.scale == 1 })
        let (_, few) = try AdapterExtraction(rank: .energy(1, atMost: 2)).extract(tuned, from: base)
        #expect(few.map(\.rank) == [2, 2])
    }

    @Test func `norms and embeddings are listed, or kept whole`() throws {
        let ones = [Float](repeating: 1, count: 60)
        let (base, tuned, small) = try pair([
            ("model.norm.weight", ones), ("model.embed_tokens.weight", ones), ("model.q.bias", ones),
            ("model.q.weight", ones),
        ])
        do throws(ConversionError) {
            _ = try AdapterExtraction(rank: .fixed(1)).extract(tuned, from: base)
            Issue.record("nothing is refused")
        } catch {
            for name in ["model.norm.weight", "model.embed_tokens.weight", "model.q.bias"] {
                #expect("\(error)".contains(name))
            }
        }
        let (model, _) = try AdapterExtraction(rank: .fixed(1), others: .save).extract(tuned, from: base)
        let merged = try base.merging(adapter(model, "saved", small)).written()
        for (name, record) in try tuned.written() where name != "model.q.weight" {
            #expect(try merged[name]?.sha256() == record.sha256(), "\(name)")
        }
    }

    @Test func `a rank beyond a weight's dimensions is refused`() throws {
        let (base, tuned, _) = try pair([("model.q.weight", [Float](repeating: 1, count: 24))])
        #expect(throws: ConversionError.self) {
            try AdapterExtraction(rank: .fixed(5)).extract(tuned, from: base)
        }
    }

    @Test func `checkpoints that do not differ, or not only in values, are refused`() throws {
        let (base, same, small) = try pair([])
        #expect(throws: ConversionError.self) {
            try AdapterExtraction(rank: .fixed(1)).extract(same, from: base)
        }
        var other = small.base
        other.tensors.removeLast()
        let path = try other.write("other", in: small.directory, weights: "model.safetensors")
        #expect(throws: ConversionError.self) {
            try AdapterExtraction(rank: .fixed(1)).extract(AdapterFixtures.open(path), from: base)
        }
    }
}
