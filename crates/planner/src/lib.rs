//! polis-planner
