import SafeTensors
import TensorCore
import TestSupport
import Testing

@Suite("Files that the Python package cannot write")
struct SubByteWriterTests {
    @Test(.enabled(if: Oracle.isAvailable))
    func `tensors of every dtype, F6 and F4 too, are opened by the Python package`() throws {
        let directory = try TestSupport.TemporaryDirectory()
        let path = directory.file("m.safetensors")
        for alignment in [8, 4096] as [UInt64] {
            let layout = try SafeTensorsLayout(
                tensors: DType.allCases.map { (TensorName($0.name), $0, [2, 4]) },
                metadata: [("format", "pt")], alignment: alignment)
            let writer = try SafeTensorsRandomAccessWriter(replacing: path, layout: layout)
            for tensor in layout.tensors.shuffled() {
                try writer.write(
                    [UInt8](repeating: 1, count: Int(tensor.byteCount)).span.bytesView, to: tensor.name)
            }
            try writer.commit()
            let files = try Oracle.run("safetensors_open.py", path).json()["files"] as? [[String: Any]]
            let tensors = try #require(files?.first?["tensors"] as? [String: [String: Any]])
            #expect(tensors.count == DType.allCases.count)
            #expect(tensors.allSatisfy { $0.value["dtype"] as? String == $0.key })
        }
    }
}
