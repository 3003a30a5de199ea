@main
struct Artifact {
    static func main() { print("artifact") }
}
