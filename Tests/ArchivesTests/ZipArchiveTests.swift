import Archives
import TensorCore
import Testing

@Suite struct ZipArchiveTests {
}
