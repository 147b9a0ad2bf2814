//! Mistakes that the simulation must find. Each is made between the parts, so
//! that none of them exists in what is tested.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A payment's transaction does not compare the fence.
    NoFence,
    /// A raise is answered before it is done, so Serving is published early.
    ServesEarly,
    /// An intent takes no new epoch.
    EpochReused,
    /// The map is written without comparing what it was made of.
    OldPicture,
    /// A payment is carried out again when it comes again.
    PaidTwice,
    /// A drain does not say of which move it is.
    DrainsForever,
    /// Whoever stands still is taken for silent.
    PauseIsSilence,
    /// A part that is cut off belongs to another unit at once.
    SplitMoves,
}

// === impl Bug ===

impl Bug {
    pub const ALL: [(&str, Bug); 8] = [
        ("no-fence", Bug::NoFence),
        ("serves-early", Bug::ServesEarly),
        ("epoch-reused", Bug::EpochReused),
        ("old-picture", Bug::OldPicture),
        ("paid-twice", Bug::PaidTwice),
        ("drains-forever", Bug::DrainsForever),
        ("pause-is-silence", Bug::PauseIsSilence),
        ("split-moves", Bug::SplitMoves),
    ];
}
