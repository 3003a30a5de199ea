import Foundation
import TestSupport
import Testing

@Suite("artifact inspect on the SafeTensors cases")
struct SafeTensorsCaseTests {
    struct Case: Decodable, CustomTestStringConvertible {
        let id: String
        let expect: String
        let reference: String
        let base64: String?
        var testDescription: String { id }

        var contents: [UInt8] {
            if let base64, let data = Data(base64Encoded: base64) { return [UInt8](data) }
            let nested = String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000)
            let header = Array(
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":\(nested)}}".utf8)
            return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header + [
                0, 0, 0x80, 0x3F,
            ]
        }
    }

    static let cases: [Case] = {
        let text = (try? bytes(of: Repository.path("Formats/safetensors/cases.jsonl"))) ?? []
        return String(decoding: text, as: UTF8.self).split(separator: "\n").compactMap {
            try? JSONDecoder().decode(Case.self, from: Data($0.utf8))
        }
    }()

    @Test func `all 93 cases are there`() { #expect(Self.cases.count == 93) }

    @Test
    func
        `each case gets its verdict, code and warning in strict mode, and the reference's verdict in its mode`()
        throws
    {
        let directory = try TemporaryDirectory()
        for item in Self.cases {
            let path = try directory.write("case.safetensors", item.contents)
            let strict = try artifact("inspect", path, "--json")
            let report = try strict.json()
            let error = report["error"] as? [String: Any]
            let warnings = (report["warnings"] as? [[String: Any]] ?? []).compactMap { $0["code"] as? String }
            let parts = item.expect.split(separator: ":").map(String.init)
            #expect(report["verdict"] as? String == parts[0].replacing("+warn", with: ""), "\(item.id)")
            if parts[0] == "reject" {
                #expect(error?["code"] as? String == parts[1] && error?["offset"] is Int, "\(item.id)")
                #expect(strict.exitCode == 1, "\(item.id)")
            } else {
                #expect(strict.exitCode == 0 && error == nil, "\(item.id)")
                if parts.count > 1 { #expect(warnings.contains(parts[1]), "\(item.id): \(warnings)") }
            }
            let reference = try artifact("inspect", path, "--json", "--validation", "reference").json()
            let accepted = reference["verdict"] as? String == "accept"
            #expect(accepted == (item.reference == "OK"), "\(item.id)")
            if !accepted {
                let error = reference["error"] as? [String: Any]
                #expect(error?["reference"] as? String == item.reference, "\(item.id)")
            }
        }
    }
}
