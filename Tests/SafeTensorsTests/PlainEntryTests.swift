import SafeTensors
import TensorCore
import TestSupport
import Testing

/// Entries in the usual spelling are read by a reader of their own.
///
/// A line feed in them sends the same entries through the tokenizer; both must say the same.
@Suite struct PlainEntryTests {
    private func verdict(_ text: String, dataByteCount: UInt64, _ mode: ValidationMode) -> String {
        let json = Array(text.utf8)
        do throws(SafeTensorsError) {
            let header = try SafeTensorsHeader(
                parsing: json, fileByteCount: UInt64(json.count) + 8 + dataByteCount, mode: mode)
            let counts = SafeTensorsWarning.Code.allCases.map { header.warnings.count(of: $0) }
            return header.map { "\($0.name) \($0.dtype) \($0.shape) \($0.dataOffsets)" }.joined(
                separator: ";")
                + " \(header.offsetOrder) \(counts)"
        } catch {
            return "\(error.code) \(error.tensor.map { "\($0)" } ?? "")"
        }
    }

    private func check(_ entries: [String], dataByteCount: UInt64) {
        let plain = "{\(entries.joined(separator: ","))}"
        // The line feed stands before each colon that follows a name.
        let other =
            "{\(entries.map { $0.replacing("\":{", with: "\"\n:{").replacing("\":[\"", with: "\"\n:[\"") }.joined(separator: ","))}"
        for mode in ValidationMode.allCases {
            let results = [plain, other].map { verdict($0, dataByteCount: dataByteCount, mode) }
            // Only where the offset of data to the file's start differs may alignment warnings do so.
            #expect(
                results[0].split(separator: "[").dropLast() == results[1].split(separator: "[").dropLast(),
                "\(plain)")
        }
    }

    @Test func `names of every length and kind`() {
        for length in 0...40 {
            for odd in ["", "\\n", "\\\"", "\u{7F}", "é", "\\u005f", "\u{1F600}", "\\\\", "\u{1}"] {
                for place in [0, length / 2, length] {
                    let name =
                        String(repeating: "_", count: place) + odd
                        + String(repeating: "a", count: length - place)
                    check(
                        [
                            #""\#(name)":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#,
                            #""b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}"#,
                        ], dataByteCount: 2)
                }
            }
        }
    }

    @Test(arguments: [
        "0", "1", "00", "01", "12345678", "123456789", "1234567812345678", "12345678123456781",
        "18446744073709551615", "18446744073709551616", "100000000000000000000", "1.0", "1e3", "-1", "-0", "",
        "9", "99999999", "00000000", "0000000100000000", "1 ", " 1", "1a", "\"1\"", "null",
    ])
    func `numbers of every length and kind`(_ number: String) {
        let value = UInt64(number) ?? 1
        check(
            [#""a":{"dtype":"U8","shape":[\#(number)],"data_offsets":[0,\#(value)]}"#],
            dataByteCount: value >> 1)
        check([#""a":{"dtype":"U8","shape":[\#(number)],"data_offsets":[0,1]}"#], dataByteCount: 1)
        check([#""a":{"dtype":"U8","shape":[3,\#(number)],"data_offsets":[0,3]}"#], dataByteCount: 3)
        check([#""a":{"dtype":"U8","shape":[1],"data_offsets":[\#(number),1]}"#], dataByteCount: 1)
        check([#""a":{"dtype":"U8","shape":[1],"data_offsets":[0,\#(number)]}"#], dataByteCount: 1)
    }

    @Test(arguments: [
        #"{"shape":[1],"dtype":"U8","data_offsets":[0,1]}"#,
        #"{"data_offsets":[0,1],"shape":[1],"dtype":"U8"}"#,
        #"{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}"#, #"{"dtype":"U8","shape":[1]}"#,
        #"{"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}"#,
        #"{ "dtype":"U8","shape":[1],"data_offsets":[0,1]}"#,
        #"{"dtype":"U8","shape":[1],"data_offsets":[0,1],}"#,
        #"{"dtype":"U8","shape":[1,],"data_offsets":[0,1]}"#,
        #"{"dtype":"u8","shape":[1],"data_offsets":[0,1]}"#,
        #"{"dtype":"F8_E4M3FNUZ","shape":[1],"data_offsets":[0,1]}"#,
        #"{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}"#,
        #"{"dtype":"\u00558","shape":[1],"data_offsets":[0,1]}"#,
        #"{"dtype":"F8_E4M3FNUZZZZ","shape":[1],"data_offsets":[0,1]}"#,
        #"{"dtype":"U8","shape":[],"data_offsets":[0,1]}"#,
        #"{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}"#,
        #"{"dtype":"U8","shape":[1],"data_offsets":[0]}"#,
        #"{"dtype":"U8","shape":[1],"data_offsets":[1,0]}"#,
        #"{"dtype":"U8","shape":[0,9999999999,9999999999],"data_offsets":[0,0]}"#,
        #"{"dtype":"U8","shape":[9999999999,9999999999,0],"data_offsets":[0,0]}"#, #"["U8",[1],[0,1]]"#,
        #"["U8",[1],[0,1],0]"#, #"["U8",[1]]"#, #"["U8", [1], [0, 1]]"#,
        #"{"dtype":"U8","shape":[1],"data_offsets":[0,1]"#,
        #"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
        #"{"dtype":"U8","shape":[1],"data_offsetz":[0,1]}"#,
    ])
    func `entries of every kind`(_ entry: String) {
        check([#""a":\#(entry)"#], dataByteCount: 1)
        check([#""a":\#(entry)"#, #""b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}"#], dataByteCount: 2)
        check([#""b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}"#, #""a":\#(entry)"#], dataByteCount: 2)
    }

    @Test func `an entry named like the metadata is metadata`() {
        let entry = #"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#
        for name in ["__metadata__", #"\u005f_metadata__"#] {
            #expect(verdict("{\"\(name)\":\(entry)}", dataByteCount: 1, .reference).hasPrefix("badMetadata"))
        }
        #expect(verdict("{\"__metadata_\":\(entry)}", dataByteCount: 1, .strict).hasPrefix("__metadata_ "))
        #expect(
            verdict("{\"__metadata__x\":\(entry)}", dataByteCount: 1, .strict).hasPrefix("__metadata__x "))
    }

    @Test(arguments: [10, 3000, 70_000])
    func `tensors out of order are put in the order of their data`(_ count: Int) throws {
        var random = TestSupport.SeededGenerator(seed: UInt64(count))
        // Every third is empty; an empty one stands before the other at the same byte.
        var begin = 0
        let places = (0..<count).map { number in
            let size = number % 3 == 0 ? 0 : Int.random(in: 1...3_000_000, using: &random)
            defer { begin += size }
            return begin..<begin + size
        }
        var order = Array(0..<count)
        order.shuffle(using: &random)
        let entries = order.map { number in
            let place = places[number]
            return
                #""\#(number)":{"dtype":"U8","shape":[\#(place.count)],"data_offsets":[\#(place.lowerBound),\#(place.upperBound)]}"#
        }
        let json = Array("{\(entries.joined(separator: ","))}".utf8)
        let header = try SafeTensorsHeader(parsing: json, fileByteCount: UInt64(json.count + 8 + begin))
        let names = header.offsetOrder.map { header[$0].name }
        #expect(names == (0..<count).map { TensorName("\($0)") })
    }
}
