//! What the tests share: generators, fixtures and oracles.
