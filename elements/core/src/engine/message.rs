// SPDX-License-Identifier: Apache-2.0
//! ONNX Runtime's messages in a form for people: without places in its source code, and with the
//! cure where it is known.

/// What ONNX Runtime said.
pub(super) fn said(message: &str) -> String {
    // "/src/x.cc:1 function() [ONNXRuntimeError] : 1 : FAIL : text"
    let text = match message.rsplit_once("[ONNXRuntimeError] : ") {
        Some((_, rest)) => rest.splitn(3, " : ").last().unwrap_or(rest),
        None => message,
    };
    let text = text.trim();
    match missing_library(text) {
        Some(library) => format!(
            "{text}. Install what {library} belongs to: CUDA and cuDNN come with \
             `pip install 'onnxruntime-gpu[cuda,cudnn]'`, TensorRT with `pip install tensorrt`; \
             then add the folder of {library} to LD_LIBRARY_PATH"
        ),
        None => text.to_string(),
    }
}

/// The library that the loader did not find for a provider.
fn missing_library(text: &str) -> Option<&str> {
    let (before, _) = text.split_once(": cannot open shared object file")?;
    let library = before.rsplit([' ', '\n']).next()?;
    (!library.is_empty()).then_some(library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_the_source_are_left_out() {
        assert_eq!(
            said(
                "/src/graph.cc:42 void f(int) [ONNXRuntimeError] : 10 : INVALID_GRAPH : Bad : node"
            ),
            "Bad : node"
        );
        assert_eq!(said("plain text\n"), "plain text");
        assert_eq!(said(""), "");
    }

    #[test]
    fn a_missing_library_gets_its_cure() {
        let text = said(
            "/onnxruntime_src/provider_bridge_ort.cc:2043 Get() [ONNXRuntimeError] : 1 : FAIL : \
             Failed to load library /x/libonnxruntime_providers_cuda.so with error: \
             libcublasLt.so.13: cannot open shared object file: No such file or directory\n",
        );
        assert!(text.starts_with("Failed to load library /x/"), "{text}");
        assert!(
            text.contains("Install what libcublasLt.so.13 belongs to")
                && text.contains("LD_LIBRARY_PATH"),
            "{text}"
        );
    }
}
