import Foundation
import Integrity
import TensorCore
import TestSupport
import Testing

@testable import Integrity

/// The published vectors: bytes by a rule, and what other programs say their digests are.
struct DigestVectors: Decodable {
    struct Single: Decodable {
        let label: String
        let len: Int
        let sha256: String
        let crc32: String

        var bytes: [UInt8] {
            if label.hasPrefix("pattern_mod251") { return (0..<len).map { UInt8($0 % 251) } }
            switch label {
            case "empty": return []
            case "hello\\n": return Array("hello\n".utf8)
            default: return Array(label.utf8)
            }
        }
    }
    let single: [Single]

    static let all: [Single] = {
        let data =
            (try? Data(
                contentsOf: URL(fileURLWithPath: Repository.path("Tests/Fixtures/digests/vectors.json"))))
            ?? Data()
        return (try? JSONDecoder().decode(DigestVectors.self, from: data))?.single ?? []
    }()
}

extension Array where Element == UInt8 {
    var raw: RawSpan {
        @_lifetime(borrow self)
        get { RawSpan(_elements: span) }
    }
}

@Suite("SHA-256 and CRC-32")
struct SHA256Tests {
    @Test func `there are vectors`() { #expect(DigestVectors.all.count >= 24) }

    @Test(arguments: [true, false])
    func `digests equal the published vectors`(accelerated: Bool) throws {
        for vector in DigestVectors.all {
            var hasher = SHA256Hasher(accelerated: accelerated && SHA256Hasher.isAccelerated)
            let bytes = vector.bytes
            try #require(bytes.count == vector.len)
            hasher.update(bytes.raw)
            #expect(hasher.finish().hex == vector.sha256, "\(vector.label)")
            #expect(CRC32.update(0, with: bytes.raw) == UInt32(vector.crc32, radix: 16), "\(vector.label)")
        }
    }

    @Test func `a digest does not depend on how the bytes are cut or aligned`() {
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<300 {
            let bytes = generator.bytes(Int.random(in: 0...700, using: &generator))
            let shift = Int.random(in: 0...min(9, bytes.count), using: &generator)
            var whole = SHA256Hasher(accelerated: false)
            whole.update(bytes.raw.extracting(shift..<bytes.count))
            let expected = whole.finish()
            var pieces = SHA256Hasher()
            var position = shift
            while position < bytes.count {
                let count = Int.random(in: 1...min(130, bytes.count - position), using: &generator)
                pieces.update(bytes.raw.extracting(position..<position + count))
                position += count
            }
            #expect(pieces.finish() == expected)
        }
    }

    @Test(arguments: [true, false])
    func `two digests over the same bytes at once are what each would be alone`(accelerated: Bool) {
        var generator = SeededGenerator(seed: 4)
        let accelerated = accelerated && SHA256Hasher.isAccelerated
        for _ in 0..<300 {
            let bytes = generator.bytes(Int.random(in: 0...600, using: &generator))
            var together = (0..<2).map { _ in SHA256Hasher(accelerated: accelerated) }
            var alone = (0..<2).map { _ in SHA256Hasher(accelerated: false) }
            for index in 0..<2 {
                let before = generator.bytes(Int.random(in: 0...80, using: &generator))
                together[index].update(before.raw)
                alone[index].update(before.raw)
            }
            var (first, second) = (together[0], together[1])
            SHA256Hasher.update(&first, &second, bytes.raw)
            for index in 0..<2 { alone[index].update(bytes.raw) }
            #expect(first.finish() == alone[0].finish())
            #expect(second.finish() == alone[1].finish())
        }
    }

    @Test(arguments: [true, false])
    func `a digest goes on from a state that was kept as text`(accelerated: Bool) throws {
        var generator = SeededGenerator(seed: 5)
        let accelerated = accelerated && SHA256Hasher.isAccelerated
        for count in 0...300 {
            let bytes = generator.bytes(count)
            let cut = Int.random(in: 0...count, using: &generator)
            var first = SHA256Hasher(accelerated: accelerated)
            first.update(bytes.raw.extracting(0..<cut))
            let state = try #require(SHA256State(text: first.currentState.text))
            var second = SHA256Hasher(state, accelerated: !accelerated && SHA256Hasher.isAccelerated)
            second.update(bytes.raw.extracting(cut..<count))
            #expect(second.finish() == SHA256Digest.of(bytes.raw))
        }
    }

    @Test func `text that is no state is not read as one`() {
        let good = SHA256State().text
        #expect(SHA256State(text: good) != nil)
        for bad in [
            "", ":", "0:", good + "00", "1" + good.dropFirst(), "00" + good.dropFirst(),
            good.uppercased() + "g",
        ] {
            #expect(SHA256State(text: bad) == nil, "\(bad)")
        }
    }

    @Test func `a hasher starts anew after it has finished`() {
        var hasher = SHA256Hasher()
        hasher.update(Array("abc".utf8).raw)
        let first = hasher.finish()
        hasher.update(Array("abc".utf8).raw)
        #expect(hasher.finish() == first)
    }

    @Test func `a digest reads back from its hexadecimal form and from nothing else`() {
        let digest = SHA256Digest.of(Array("abc".utf8).raw)
        #expect(SHA256Digest(hex: digest.hex) == digest)
        #expect(SHA256Digest(hex: digest.hex.uppercased()) == digest)
        for bad in ["", String(digest.hex.dropLast()), digest.hex + "0", digest.hex.dropLast() + "g"] {
            #expect(SHA256Digest(hex: String(bad)) == nil)
        }
    }
}
