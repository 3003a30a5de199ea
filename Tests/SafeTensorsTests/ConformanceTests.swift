import SafeTensors
import TensorCore
import Testing

@Suite struct ConformanceTests {
    @Test func `there are 93 cases`() {
        #expect(ConformanceCase.all.count == 93)
    }

    @Test(arguments: ConformanceCase.all)
    func `strict mode gives the verdict that the case asks for`(_ item: ConformanceCase) throws {
        let parts = item.expected.split(separator: ":").map(String.init)
        do {
            let header = try SafeTensorsHeader(reading: item.source)
            #expect(parts[0].hasPrefix("accept"), "should be refused as \(item.expected)")
            if parts[0] == "accept+warn" {
                let code = try #require(SafeTensorsWarning.Code(rawValue: parts[1]))
                let values = try SafeTensorsReader(item.source).scanValues()
                #expect(header.warnings.count(of: code) + values.count(of: code) == 1)
            }
            #expect(item.reference == "OK")
        } catch let error as SafeTensorsError {
            #expect(item.expected == "reject:\(error.code.rawValue)", "\(error)")
            #expect(item.reference == error.referenceName ?? "OK")
            #expect(error.offset <= UInt64(item.bytes.count))
        }
    }

    @Test(arguments: ConformanceCase.all)
    func `reference mode gives the verdict of the reference`(_ item: ConformanceCase) throws {
        do {
            _ = try SafeTensorsHeader(reading: item.source, mode: .reference)
            #expect(item.reference == "OK")
        } catch {
            #expect(item.reference == error.referenceName, "\(error)")
        }
    }
}
