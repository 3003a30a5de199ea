internal import Glibc
internal import StrictJSON

/// How Llama 3.1 slows the rotation down: low frequencies by a factor, high ones not, those between in part.
struct Llama3Rotation {
    var factor: Double
    var lowFactor: Double
    var highFactor: Double
    /// The context that the model was first trained on.
    var original: Int

    /// What the frequency of each pair of dimensions is divided by.
    func factors(base: Double, dimension: Int) -> [Float] {
        let (low, high) = (Double(original) / lowFactor, Double(original) / highFactor)
        return (0..<dimension / 2).map { pair in
            let length = 2 * Double.pi * pow(base, Double(2 * pair) / Double(dimension))
            if length < high { return 1 }
            if length > low { return Float(factor) }
            let smooth = (Double(original) / length - lowFactor) / (highFactor - lowFactor)
            return Float(1 / ((1 - smooth) / factor + smooth))
        }
    }

    /// Whether these are the factors, up to what rounding on the way makes of them.
    func matches(_ factors: [Float], base: Double) -> Bool {
        guard factor.isFinite, base.isFinite, base > 0 else { return false }
        return zip(factors, self.factors(base: base, dimension: 2 * factors.count)).allSatisfy {
            abs($0 - $1) <= 1e-4 * abs($1)
        }
    }

    /// The members of a config that say so.
    var members: [JSONMember] {
        [
            JSONMember("factor", .number("\(factor)")),
            JSONMember("low_freq_factor", .number("\(lowFactor)")),
            JSONMember("high_freq_factor", .number("\(highFactor)")),
            JSONMember("original_max_position_embeddings", .integer(original)),
        ]
    }
}
