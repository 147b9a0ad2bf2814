//! The kinds of the federation, field by field; the types are in
//! `resources`, and a test keeps the two together.

use topology::{BucketRange, CenterName, CityName, ShardSet, UnitName};

use super::{
    Field, Schema, Shape,
    meta::{API_VERSION, KIND, METADATA},
    optional, required,
};

/// The frame of a kind of ours.
macro_rules! kind {
    ($name:ident, $about:literal, spec: $spec:expr, status: $status:expr) => {
        pub static $name: Schema = Schema {
            about: $about,
            shape: Shape::Object(&[
                API_VERSION,
                KIND,
                METADATA,
                required("spec", "The wanted state.", Shape::Object($spec)),
                optional("status", "The observed state; written by controllers.", $status),
            ]),
        };
    };
}

const fn item(shape: Shape) -> Schema {
    Schema { about: "", shape }
}

const CITY_NAME: Shape = Shape::Form(|text| complaint(text.parse::<CityName>()));
const CENTER_NAME: Shape = Shape::Form(|text| complaint(text.parse::<CenterName>()));
const UNIT_NAME: Shape = Shape::Form(|text| complaint(text.parse::<UnitName>()));
const BUCKETS: Shape = Shape::Form(|text| complaint(text.parse::<BucketRange>()));
const SHARDS: Shape = Shape::Form(|text| complaint(text.parse::<ShardSet>()));

fn complaint<T, E: ToString>(parsed: Result<T, E>) -> Option<String> {
    parsed.err().map(|error| error.to_string())
}

kind!(
    CITY,
    "City is a place whose centers may be lost together.",
    spec: &[optional(
        "drills",
        "Whether faults may be injected here on purpose; Forbidden unless said.",
        Shape::OneOf(&["Forbidden", "Allowed"]),
    )],
    status: Shape::Object(&[])
);

kind!(
    CENTER,
    "Center is a data center: the smallest place that fails as a whole.",
    spec: &[
        required("city", "The City it stands in.", CITY_NAME),
        required("apiAddress", "host:port of its API server, which others probe.", Shape::Text),
        required("edgeAddress", "host:port of its edge, for users.", Shape::Text),
        optional("edgeAdminAddress", "host:port where its edge tells operators and controllers how it is.", Shape::Text),
    ],
    status: Shape::Object(&[
        optional(
            "phase",
            "Unknown, Ready, Suspect (probes fail) or Lost (its shards have moved).",
            Shape::OneOf(&["Unknown", "Ready", "Suspect", "Lost"]),
        ),
        optional("observer", "The process that wrote the observations.", Shape::Text),
        optional(
            "observations",
            "What this center sees of each other center.",
            Shape::Map(&item(Shape::OneOf(&["Alive", "Suspect", "Mute"]))),
        ),
    ])
);

kind!(
    UNIT,
    "Unit is a self-contained cell in one center, with named standbys.",
    spec: &[
        required(
            "kind",
            "RZone owns user shards, GZone is global, CZone is a city's read copy.",
            Shape::OneOf(&["RZone", "GZone", "CZone"]),
        ),
        required("center", "The Center it runs in.", CENTER_NAME),
        optional(
            "standbys",
            "Units that take its shards when it is lost, in order of preference.",
            Shape::List(&item(UNIT_NAME)),
        ),
        required(
            "ports",
            "Host ports that its pods may be given.",
            Shape::Object(&[
                required("first", "Lowest port.", Shape::Integer),
                required("last", "Highest port.", Shape::Integer),
            ]),
        ),
        optional("shardsMax", "Shards that it can carry; failovers fill other units first.", Shape::Integer),
        optional(
            "services",
            "What runs here that writes shards.",
            Shape::List(&item(Shape::Object(&[
                required("name", "Name of the service.", Shape::Text),
                required("namespace", "Its namespace.", Shape::Text),
                required(
                    "fence",
                    "What keeps two writers apart.",
                    Shape::OneOf(&["database", "lease", "none"]),
                ),
            ]))),
        ),
    ],
    status: Shape::Object(&[optional("ready", "Whether its center is.", Shape::Boolean)])
);

kind!(
    SHARD_MAP,
    "ShardMap says where shards belong (spec) and who serves them (status).",
    spec: &[
        required(
            "homes",
            "Where each shard belongs when everything is well; disjoint.",
            Shape::List(&item(Shape::Object(&[
                required("shards", "Ranges of shards, such as 00-19,42.", SHARDS),
                required("unit", "The Unit they belong to.", UNIT_NAME),
            ]))),
        ),
        optional(
            "returnPolicy",
            "Whether shards go home by themselves.",
            Shape::Object(&[
                optional("automatic", "True unless said.", Shape::Boolean),
                optional("afterMs", "How long the home must have been well.", Shape::Integer),
                optional("batchShards", "Shards that go home at a time; 10 unless said.", Shape::Integer),
                optional("pauseMs", "Least time between two batches.", Shape::Integer),
            ]),
        ),
    ],
    status: Shape::Object(&[
        optional("version", "Rises with every change; compared on write.", Shape::Integer),
        optional(
            "buckets",
            "Of each shard whose hundred was split, such as 42: 4200-4249; every other has its hundred.",
            Shape::Map(&item(BUCKETS)),
        ),
        optional(
            "ranges",
            "Shards with the same epoch and state.",
            Shape::List(&item(Shape::Object(&[
                required("shards", "Ranges of shards.", SHARDS),
                required("epoch", "Rises with every change of owner.", Shape::Integer),
                required(
                    "state",
                    "Serving, or Moving until the new owner holds the fence.",
                    Shape::OneOf(&["Serving", "Moving"]),
                ),
                optional("unit", "Who serves them.", UNIT_NAME),
                optional("from", "Who lets go; absent in a failover.", UNIT_NAME),
                optional("to", "Who takes them.", UNIT_NAME),
            ]))),
        ),
    ])
);

const MOVE_STATES: Shape = Shape::OneOf(&["Waiting", "Holding", "Moved", "Elsewhere", "GivenUp"]);

kind!(
    SHARD_MOVE,
    "ShardMove is an order to move shards to another unit by plan. Deleting it before its end takes it back.",
    spec: &[
        optional("shards", "These shards, such as 40-49; or those of a unit.", SHARDS),
        optional("buckets", "Of the one shard named only these, such as 4250-4299: they become a shard of their own first.", BUCKETS),
        optional("unit", "The Unit that shards leave.", UNIT_NAME),
        optional("percent", "So many of a hundred of the unit's shards; all unless said.", Shape::Integer),
        optional("to", "The Unit that takes them; a unit's are spread over the others unless said.", UNIT_NAME),
        optional("holdMs", "Longest time that a shard's requests are held before it goes back; 3000 unless said.", Shape::Integer),
    ],
    status: Shape::Object(&[
        optional("observedGeneration", "The generation this plan is of.", Shape::Integer),
        optional("phase", "How far it is.", Shape::OneOf(&["Pending", "Moving", "Succeeded", "Failed"])),
        optional("message", "Why it waits, or how it ended.", Shape::Text),
        optional("total", "Shards of the plan.", Shape::Integer),
        optional("moved", "Shards that have arrived.", Shape::Integer),
        optional(
            "progress",
            "The plan, and how far each shard is.",
            Shape::List(&item(Shape::Object(&[
                required("shards", "Ranges of shards.", SHARDS),
                required("from", "Who served them when the plan was made.", UNIT_NAME),
                required("to", "Who takes them.", UNIT_NAME),
                required("state", "How far they are.", MOVE_STATES),
                required("epoch", "Under which they were seen last.", Shape::Integer),
                optional("reverts", "How often they went back.", Shape::Integer),
            ]))),
        ),
        optional(
            "history",
            "What happened, the newest last.",
            Shape::List(&item(Shape::Object(&[
                required("at", "When (RFC 3339).", Shape::Text),
                required("shards", "Ranges of shards.", SHARDS),
                required("epoch", "Under which it happened.", Shape::Integer),
                required("state", "What became of them.", MOVE_STATES),
                required("unit", "Who serves or shall.", UNIT_NAME),
                required("reason", "Why.", Shape::Text),
            ]))),
        ),
    ])
);

const RENTAL_PHASES: Shape = Shape::OneOf(&[
    "Pending",
    "Creating",
    "Deploying",
    "MovingOut",
    "Active",
    "MovingBack",
    "Releasing",
    "Returned",
    "Refused",
]);

kind!(
    UNIT_RENTAL,
    "UnitRental is a unit for a while, in a place that a provider makes and takes back. Its name is the unit's. Deleting it gives the unit back first.",
    spec: &[
        required("center", "The Center in which the place is made.", CENTER_NAME),
        optional("sharePercent", "Of a hundred shards of those who give, so many move here; 10 unless said.", Shape::Integer),
        optional("from", "Units that give; every one unless said.", Shape::List(&item(UNIT_NAME))),
        optional("groupOf", "The Unit whose second group this is; shards move to it by order only.", UNIT_NAME),
        optional("until", "When it is given back by itself (RFC 3339).", Shape::Text),
        optional("giveBack", "That it is to be given back now.", Shape::Boolean),
    ],
    status: Shape::Object(&[
        optional("phase", "How far it is.", RENTAL_PHASES),
        optional("message", "What is done or waited for.", Shape::Text),
        optional(
            "place",
            "What the provider made.",
            Shape::Object(&[
                required("id", "By which the provider knows it.", Shape::Text),
                required(
                    "ports",
                    "Host ports that its pods may be given.",
                    Shape::Object(&[
                        required("first", "Lowest port.", Shape::Integer),
                        required("last", "Highest port.", Shape::Integer),
                    ]),
                ),
            ]),
        ),
        optional("model", "The Unit whose services it runs.", UNIT_NAME),
        optional(
            "shares",
            "What moves here, and from whom; they go back there.",
            Shape::List(&item(Shape::Object(&[
                required("shards", "Ranges of shards.", SHARDS),
                required("from", "Who gave them.", UNIT_NAME),
            ]))),
        ),
        optional("movedOut", "Whether the share has arrived.", Shape::Boolean),
        optional("attempt", "Orders to move shards back that did not succeed.", Shape::Integer),
        optional(
            "conditions",
            "What is true of it, since when.",
            Shape::List(&item(Shape::Object(&[
                required("type", "PlaceReady, UnitReady or ShareMoved.", Shape::Text),
                required("status", "Whether it is.", Shape::OneOf(&["True", "False"])),
                required("lastTransitionTime", "Since when (RFC 3339).", Shape::Text),
            ]))),
        ),
        optional(
            "history",
            "What happened, the newest last.",
            Shape::List(&item(Shape::Object(&[
                required("at", "When (RFC 3339).", Shape::Text),
                required("phase", "How far it was then.", RENTAL_PHASES),
                required("message", "What was done or waited for.", Shape::Text),
            ]))),
        ),
    ])
);

const RULE: Shape = Shape::OneOf(&["Automatic", "Manual"]);

kind!(
    FAILOVER_POLICY,
    "FailoverPolicy says which evidence may move shards by itself. The one named main counts; without it everything is Automatic.",
    spec: &[
        optional("city", "Every center of a city is silent.", RULE),
        optional("center", "A center is silent, and another of its city answers.", RULE),
        optional(
            "paused",
            "The center's machine takes connections and its process does not answer.",
            Shape::Object(&[
                optional("rule", "Automatic unless said.", RULE),
                optional("afterMs", "How long it must have been silent; 800 unless said.", Shape::Integer),
            ]),
        ),
        optional(
            "prefer",
            "Who takes over first: the unit's standbys, or a unit of the same city.",
            Shape::OneOf(&["Standbys", "SameCity"]),
        ),
        optional("minIntervalMs", "Least time from one failover to the next; none unless said.", Shape::Integer),
    ],
    status: Shape::Object(&[])
);

kind!(
    FAILOVER,
    "Failover is of centers that look lost: what moving their shards would do, and a person's word where the policy asks for it.",
    spec: &[
        required("centers", "Those that look lost.", Shape::List(&item(CENTER_NAME))),
        required("evidence", "What was seen of them.", Shape::OneOf(&["City", "Center", "Paused", "Majority"])),
        optional("approved", "A person's word that their shards are to move.", Shape::Boolean),
    ],
    status: Shape::Object(&[
        optional("phase", "How far it is.", Shape::OneOf(&["Waiting", "Done", "Withdrawn"])),
        optional("message", "Why it waits, or how it ended.", Shape::Text),
        optional(
            "plan",
            "Where the shards would go, or went.",
            Shape::List(&item(Shape::Object(&[
                required("shards", "Ranges of shards.", SHARDS),
                required("from", "Who had them.", UNIT_NAME),
                required("to", "Who takes them.", UNIT_NAME),
            ]))),
        ),
        optional(
            "loads",
            "What each unit that takes some would carry.",
            Shape::List(&item(Shape::Object(&[
                required("unit", "The unit.", UNIT_NAME),
                required("shardsBefore", "Before the failover.", Shape::Integer),
                required("shardsAfter", "After it.", Shape::Integer),
                required("shardsIfAnotherIsLost", "If one more unit were lost then.", Shape::Integer),
                optional("another", "The one whose loss would hit it most.", UNIT_NAME),
            ]))),
        ),
    ])
);

/// Of the design, not served yet: known so that the refusal can say so.
const fn unserved(name: &'static str) -> Field {
    optional(name, "Not served in this release.", Shape::Any)
}

const COUNTS: &[Field] = &[
    optional("replicas", "Pods that exist.", Shape::Integer),
    optional("readyReplicas", "Pods that are ready.", Shape::Integer),
    optional("updatedReplicas", "Pods of the newest template.", Shape::Integer),
];

kind!(
    CAFE_DEPLOYMENT,
    "CafeDeployment is an application spread over units.",
    spec: &[
        optional(
            "podSetType",
            "How pods are replaced; InPlaceSet in this release.",
            Shape::OneOf(&["InPlaceSet", "ReplicaSet", "StatefulSet"]),
        ),
        required(
            "topology",
            "Where pods go.",
            Shape::Object(&[
                optional(
                    "unitType",
                    "Cell in this release.",
                    Shape::OneOf(&["Cell", "Zone", "None"]),
                ),
                required(
                    "unitReplicas",
                    "Pods in each unit; units that are not named get none.",
                    Shape::Map(&item(Shape::IntOrText)),
                ),
                unserved("autoReschedule"),
                unserved("values"),
            ]),
        ),
        required("template", "The pod to be made: metadata and spec.", Shape::Any),
        unserved("replicas"),
        unserved("selector"),
        unserved("strategy"),
        unserved("historyLimit"),
        unserved("volumeClaimTemplates"),
        unserved("serviceName"),
    ],
    status: Shape::Object(&[
        optional("observedGeneration", "The generation this status is of.", Shape::Integer),
        optional("replicas", "Pods that exist.", Shape::Integer),
        optional("readyReplicas", "Pods that are ready.", Shape::Integer),
        optional("updatedReplicas", "Pods of the newest template.", Shape::Integer),
        optional(
            "units",
            "The same by unit.",
            Shape::Map(&item(Shape::Object(COUNTS))),
        ),
    ])
);
