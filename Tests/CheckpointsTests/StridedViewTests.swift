import Checkpoints
import TensorCore
import Testing

@Suite struct StridedViewTests {
}
