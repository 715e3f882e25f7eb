//! The proxy's process.

/// Every allocation is wiped when it is freed: copies that no type owns hold card data too.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> std::process::ExitCode {
    strongroom_proxy::cli::main()
}
