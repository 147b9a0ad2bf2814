//! polis-controllers
