//! The packages of each peer: the program, then the libraries that a system
//! which only has apt may lack.

use super::Package;

/// What drills set clocks wrong with.
pub const FAKETIME: &[Package] = &[Package {
    name: "libfaketime",
    version: "0.9.10-2.1",
    digest: "b09481e7690680966005330c3f907bba4b5eefc35e1faaea4783cc55655d1150",
}];

/// The server, its replication and its state transfer, then the libraries
/// that a system which only has apt may lack.
pub const MARIADB: &[Package] = &[
    Package {
        name: "mariadb-server-core",
        version: "1:10.11.19-0+deb12u1",
        digest: "bda81cb1c5b538e19eed27462fa8df577684b9cdc4fe40cee8d1da9cbc0fe76b",
    },
    // The scripts of the state transfer.
    Package {
        name: "mariadb-server",
        version: "1:10.11.19-0+deb12u1",
        digest: "2219efc9b1e6f7a13df8b5927ee599838876e21620c1f59ffcc64dcf1aa3bb3a",
    },
    // Only what reads the server's options, which the scripts call.
    Package {
        name: "mariadb-client-core",
        version: "1:10.11.19-0+deb12u1",
        digest: "60549abde2ad55068610b2cae03af7d17a2cafb0993f16c8c2413bd1b5fe6f5f",
    },
    Package {
        name: "galera-4",
        version: "26.4.23-0+deb12u1",
        digest: "b5049888c439d867d1054e64913f41c1488ee514c500da99242b27cc90ab6279",
    },
    Package {
        name: "rsync",
        version: "3.5.0+ds1-0+deb12u1",
        digest: "26ea59ef1c3d05595e9637002ace6f4e00181638b438ecad0f1cf1659ebb67ed",
    },
    // The scripts look by it whether rsync listens.
    Package {
        name: "lsof",
        version: "4.95.0-1",
        digest: "e4b15cf8d0b9051cf7957e7ab29a67ca7d21f42ea1b2b7dad1b52e65d02d1408",
    },
    Package {
        name: "libaio1",
        version: "0.3.113-4",
        digest: "d1476e4beab3d85f8a7d31de94c27472711ed3ef399ce70708e24b259426125b",
    },
    Package {
        name: "liburing2",
        version: "2.3-3",
        digest: "c23077e3640e6cb4b819c134b3f41d5cf21b3edac099654b1b4142c3069a39a3",
    },
    Package {
        name: "libnuma1",
        version: "2.0.16-1",
        digest: "639e1ab6bd66ead40db8a22c332d7199679fa22db261cac34444eb8eb4c17dda",
    },
    Package {
        name: "libpopt0",
        version: "1.19+dfsg-1",
        digest: "6f94b488255acd996254f775c77ff3956557c61f860a3c9caeaf65457554194f",
    },
    Package {
        name: "libssl3",
        version: "3.0.22-1~deb12u2",
        digest: "cb4784740daa9b3b0eaea2b444bbefa686794afbbf3d678d238c1fd9875f2efd",
    },
    // From here on for lsof.
    Package {
        name: "libtirpc3",
        version: "1.3.3+ds-1",
        digest: "2a46d5a5e9486da11ffeff5740931740d6deae4f92cd6098df060dc5dff1e1c7",
    },
    Package {
        name: "libgssapi-krb5-2",
        version: "1.20.1-2+deb12u5",
        digest: "d8b87aea91b956b416c01a28c44ff6228315ae3b73de40acddac3dc5043607d2",
    },
    Package {
        name: "libkrb5-3",
        version: "1.20.1-2+deb12u5",
        digest: "c90801be09701af221b54dd502a59cb378b7284ff31e480738baca317d2f7653",
    },
    Package {
        name: "libk5crypto3",
        version: "1.20.1-2+deb12u5",
        digest: "7b6e47d15c5c9cdcd456137533d8308aeba608a54cec73b28bd59bfc4b54cf06",
    },
    Package {
        name: "libkrb5support0",
        version: "1.20.1-2+deb12u5",
        digest: "8b9c05f2d8d461a10d657b118f572af5bf8fd6c8f93dcef81e852c5ab0f428ab",
    },
    Package {
        name: "libkeyutils1",
        version: "1.6.3-2",
        digest: "cfac89e6a7a54ff3c6a4f843310e25efeddaa771baeae470bd98bd588c373563",
    },
    Package {
        name: "libcom-err2",
        version: "1.47.0-2+b2",
        digest: "a2bac7015e78fbc0c504df3e441f3a22292f1d2d77f9ccda760057f3690e22f2",
    },
];

/// The program that makes packets disappear, and its libraries.
pub const NFTABLES: &[Package] = &[
    Package {
        name: "nftables",
        version: "1.0.6-2+deb12u2",
        digest: "966ff20ce58c17163a771c02ddbca264291408f94c512bd85dd18da0ebdbe88c",
    },
    Package {
        name: "libnftables1",
        version: "1.0.6-2+deb12u2",
        digest: "3a8223f9bfba99d97bf25296ac83de307ab036e1df63e5965f88809266851947",
    },
    Package {
        name: "libnftnl11",
        version: "1.2.4-2",
        digest: "9e619e1470a1915264e906020f3bfc046fd8458043b1342686d997b5078213af",
    },
    Package {
        name: "libmnl0",
        version: "1.0.4-3",
        digest: "4581f42e3373cb72f9ea4e88163b17873afca614a6c6f54637e95aa75983ea7c",
    },
    Package {
        name: "libxtables12",
        version: "1.8.9-2",
        digest: "cb841d66950a43af4a398625313d2f3da9065299c9738538de6c2c3495857040",
    },
    Package {
        name: "libjansson4",
        version: "2.14-2",
        digest: "3fc9742f9f1a37bcb9931df6074b4d1483419ef832ad5349f47323e75fc27864",
    },
    Package {
        name: "libgmp10",
        version: "2:6.2.1+dfsg1-1.1",
        digest: "187aedef2ed763f425c1e523753b9719677633c7eede660401739e9c893482bd",
    },
    Package {
        name: "libedit2",
        version: "3.1-20221030-2",
        digest: "1cf14abf2716d3279db12d0657a5737cf70074a1e71d3bdf73206625e3c89ce6",
    },
    Package {
        name: "libbsd0",
        version: "0.11.7-2",
        digest: "bb31cc8b40f962a85b2cec970f7f79cc704a1ae4bad24257a822055404b2c60b",
    },
    Package {
        name: "libmd0",
        version: "1.0.4-2",
        digest: "03539fd30c509e27101d13a56e52eda9062bdf1aefe337c07ab56def25a13eab",
    },
];

/// The wheels of it are built small and without its counters.
pub const NGINX: &[Package] = &[
    Package {
        name: "nginx",
        version: "1.22.1-9+deb12u11",
        digest: "4e2778e675c07d0f2d8d3b6f5ff84f6483ade1d82c21c910eb9a2787e1cf1b1a",
    },
    Package {
        name: "libnginx-mod-stream",
        version: "1.22.1-9+deb12u11",
        digest: "952570771815046276e19fc1e062ae82b4498cede0e87a7f53915a6b52705d9e",
    },
    Package {
        name: "libpcre2-8-0",
        version: "10.42-1+deb12u2",
        digest: "d2f7edfcc7689b9e0761c2742cc824ac86a20768bc5e8057818dc6875291fe76",
    },
    Package {
        name: "libssl3",
        version: "3.0.22-1~deb12u2",
        digest: "cb4784740daa9b3b0eaea2b444bbefa686794afbbf3d678d238c1fd9875f2efd",
    },
];

/// Clients of HTTP/2 that measure, and that show every frame.
pub const NGHTTP2: &[Package] = &[
    Package {
        name: "nghttp2-client",
        version: "1.52.0-1+deb12u3",
        digest: "ab4037b81496ff5736a0d56f2400f37342f9cd52604dba790b304609a1e7c218",
    },
    Package {
        name: "libev4",
        version: "1:4.33-1",
        digest: "1b35aebfabf4f1dba891c9cc0b7352e8402dac4efef1e34a41359ce5bd68aacf",
    },
    Package {
        name: "libicu72",
        version: "72.1-3+deb12u1",
        digest: "f7f6f99c6d7b025914df2447fc93e11d22c44c0c8bdd8b6f36691c9e7ddcef88",
    },
    Package {
        name: "libjansson4",
        version: "2.14-2",
        digest: "3fc9742f9f1a37bcb9931df6074b4d1483419ef832ad5349f47323e75fc27864",
    },
    Package {
        name: "libjemalloc2",
        version: "5.3.0-1",
        digest: "a4117c23c5c8acf6c9678a6cb086f000b79476369da7efe8a78a70826956ad3d",
    },
    Package {
        name: "liblzma5",
        version: "5.4.1-1+deb12u2",
        digest: "3d8c29c8c21ec6007635e1b2591edf98b771c9572a085968f47452b33040f384",
    },
    Package {
        name: "libnghttp2-14",
        version: "1.52.0-1+deb12u3",
        digest: "5a5736cee57e51c1baed869979e6ecdbc6495e939e33203d6cfe3b6e5a149e3f",
    },
    Package {
        name: "libssl3",
        version: "3.0.22-1~deb12u2",
        digest: "cb4784740daa9b3b0eaea2b444bbefa686794afbbf3d678d238c1fd9875f2efd",
    },
    Package {
        name: "libxml2",
        version: "2.9.14+dfsg-1.3~deb12u6",
        digest: "4460e39dda10a815881374217cde08474747cfa018358cd8612c14b390eff53b",
    },
];

pub const WRK: &[Package] = &[
    Package {
        name: "wrk",
        version: "4.1.0-3+b2",
        digest: "b0206dc74df85365a248ddac2433c0ee3f210579fc5ed83758e73354bb1bbefb",
    },
    Package {
        name: "libluajit2-5.1-2",
        version: "2.1-20230119-1",
        digest: "83f4cb79e75286a1100ed7fd0f849b5823c911067fc9d6a1e29dfbdc84353909",
    },
    Package {
        name: "libssl3",
        version: "3.0.22-1~deb12u2",
        digest: "cb4784740daa9b3b0eaea2b444bbefa686794afbbf3d678d238c1fd9875f2efd",
    },
];
