//! Chromium without a window, and the libraries of a desktop that it takes all
//! the same.

use super::Package;

/// The second one is what it shares with the one with a window.
pub const PACKAGES: &[Package] = &[
    Package {
        name: "chromium-headless-shell",
        version: "156.0.8078.79-1~deb12u1",
        digest: "9ce30e8db4ab49b7a4770df094fe8afdf9105263e5c477fc78f41761674599f8",
    },
    Package {
        name: "chromium-common",
        version: "156.0.8078.79-1~deb12u1",
        digest: "22f8b358b96ee1afca2cefa496b303f29381cea846a3791b23128dee154e3b6b",
    },
    Package {
        name: "libasound2",
        version: "1.2.8-1+b1",
        digest: "44c77b076a7b11ae99712439022d822245b1994c435da564ebd320bb676faf4c",
    },
    Package {
        name: "libasyncns0",
        version: "0.8-6+b3",
        digest: "cadaff99f4178b1f580331045621b363abaaefc994e78eecba1857774a3cead2",
    },
    Package {
        name: "libatk1.0-0",
        version: "2.46.0-5",
        digest: "909dd661e03760a9ba1529bfc772f259cec8431999ee38b7c5521186237cdd98",
    },
    Package {
        name: "libatspi2.0-0",
        version: "2.46.0-5",
        digest: "1c0332f3b712a8e5ee56800bbcab83a8f92098874094f2b0bdfd6b7fd45e8b83",
    },
    Package {
        name: "libbrotli1",
        version: "1.0.9-2+deb12u1",
        digest: "e27b3d655fa6fadd7a56f706687e94573c0af68b7d6df394a32a381a3a6c6d8b",
    },
    Package {
        name: "libbsd0",
        version: "0.11.7-2",
        digest: "bb31cc8b40f962a85b2cec970f7f79cc704a1ae4bad24257a822055404b2c60b",
    },
    Package {
        name: "libdav1d6",
        version: "1.0.0-2+deb12u1",
        digest: "197f08108242177aeae4c04aac11825c39b7d18598191ab769f910687ccb387f",
    },
    Package {
        name: "libdbus-1-3",
        version: "1.14.10-1~deb12u1",
        digest: "18ee0ce5fab9f7b671e87da1e9fa18660e36e04a3402f24bdb8635e0ba1d35f6",
    },
    Package {
        name: "libdouble-conversion3",
        version: "3.2.1-1",
        digest: "802b880ed900e4a8d54bab77b7551a7f3408b04891c3e5650fdc2368cc1fbc0a",
    },
    Package {
        name: "libdrm2",
        version: "2.4.114-1+b1",
        digest: "be18fb670797ba32da9628cf3e8acd83160d8db8c8dd842501dd8e401c3b5371",
    },
    Package {
        name: "libexpat1",
        version: "2.5.0-1+deb12u5",
        digest: "cae5ded666d8573dd33060bc66fbac21eea8b101a6b56e2af8bd590fcfa65d79",
    },
    Package {
        name: "libffi8",
        version: "3.4.4-1",
        digest: "6d9f6c25c30efccce6d4bceaa48ea86c329a3432abb360a141f76ac223a4c34a",
    },
    Package {
        name: "libflac12",
        version: "1.4.2+ds-2",
        digest: "4d8431c274eef13ec9ee2c0bf988c34b4342367dec053b7f69a432525be5b1fe",
    },
    Package {
        name: "libfontconfig1",
        version: "2.14.1-4",
        digest: "16ee38d374e064f534116dc442b086ef26f9831f1c0af7e5fb4fe4512e700649",
    },
    Package {
        name: "libfreetype6",
        version: "2.12.1+dfsg-5+deb12u4",
        digest: "8043e479f73f29992d652e3f9dfe8b17f9780c7ea6330afe379ec5f9f188ac44",
    },
    Package {
        name: "libgbm1",
        version: "22.3.6-1+deb12u2",
        digest: "4323840f2b7b3e108990848529125d99c0956ae5a854c1e0568ed08c8faeaa2e",
    },
    Package {
        name: "libglib2.0-0",
        version: "2.74.6-2+deb12u9",
        digest: "7ff85197685d89e150e342b29a59aab1beee400050ba7da73de81cd999ffee5a",
    },
    Package {
        name: "libgraphite2-3",
        version: "1.3.14-1+deb12u1",
        digest: "c19a7f6ba9298db7eef041ae27b08985f2c02009e418063f8bccdb5bc5e858dc",
    },
    Package {
        name: "libharfbuzz-subset0",
        version: "6.0.0+dfsg-3",
        digest: "020de1eeba5fb56052a6ca71b259f8cbe3f6fce5038f4caca751c7e4867ca33f",
    },
    Package {
        name: "libharfbuzz0b",
        version: "6.0.0+dfsg-3",
        digest: "bfce132b7ee67b9c2d2166075b1936a25c8cc6866b6a049f99b8e94baa916e71",
    },
    Package {
        name: "libjpeg62-turbo",
        version: "1:2.1.5-2",
        digest: "95ec30140789a342add8f8371ed018924de51b539056522b66f207b25cba9cad",
    },
    Package {
        name: "liblcms2-2",
        version: "2.14-2+deb12u1",
        digest: "333efe13d165b8a98194d95e72fd10b502ebbee4dc2eb43fc2ab83e2b53e5f17",
    },
    Package {
        name: "libmd0",
        version: "1.0.4-2",
        digest: "03539fd30c509e27101d13a56e52eda9062bdf1aefe337c07ab56def25a13eab",
    },
    Package {
        name: "libminizip1",
        version: "1.1-8+deb12u1",
        digest: "b2999b980cbb9e6dcaa2d5154c9d1f1b9d55f5a0ca8166699de7ab47afaf4a36",
    },
    Package {
        name: "libmp3lame0",
        version: "3.100-6",
        digest: "b1292c749172e7623547ecf684da57d3ec6ca22109f08b11bbb9e6be6e6beb95",
    },
    Package {
        name: "libmpg123-0",
        version: "1.31.2-1+deb12u1",
        digest: "a10ad0d59995b859797a5f20d2833672051d0b2c7dab4c71f2e79258b2e3f631",
    },
    Package {
        name: "libnspr4",
        version: "2:4.35-1",
        digest: "6cca09767e94e4b5d2888ef31ad797bd3e7cec27fbbe98b49b10d4884746ce77",
    },
    Package {
        name: "libnss3",
        version: "2:3.87.1-1+deb12u4",
        digest: "666bce4768414a6a79d2dacb1549f922cedb1facd373790a477e12739878284e",
    },
    Package {
        name: "libogg0",
        version: "1.3.5-3",
        digest: "f67acb0477aed0354f411172e37af338f3ac6bd4f3766134a2cf5539884b5a28",
    },
    Package {
        name: "libopenh264-7",
        version: "2.3.1+dfsg-3+deb12u2",
        digest: "d453c4d81b7b3ff14663da75471250a4894543ae5ab5e902e225aca56aec56e8",
    },
    Package {
        name: "libopenjp2-7",
        version: "2.5.0-2+deb12u3",
        digest: "a127e2f1741d66bdddb6393a718e3cbec327d53f88c89b859b1f8d73f64cf635",
    },
    Package {
        name: "libopus0",
        version: "1.3.1-3",
        digest: "c172e212f9039e741916aa8e12f3670d1e049dc0c16685325641288c2d83faa7",
    },
    Package {
        name: "libpng16-16",
        version: "1.6.39-2+deb12u6",
        digest: "940b91d40d51c825de7f7aa133aecff1ffa25a91f12cb6aa6926c9ad55cd640c",
    },
    Package {
        name: "libpulse0",
        version: "16.1+dfsg1-2+b1",
        digest: "7b2c5403cb726312219aad678becc6d6adcee1d8694fdffce0b6ec15ae010831",
    },
    Package {
        name: "libsndfile1",
        version: "1.2.0-1+deb12u1",
        digest: "02dc3f08fe8476e82e005f412e3b7289ff641180f33a9be8073f4bde61c85e8e",
    },
    Package {
        name: "libsqlite3-0",
        version: "3.40.1-2+deb12u2",
        digest: "a8d78b40e9b4e422224aeebfe0e4dfc243f6acf3532490b0c05480d4283d41e2",
    },
    Package {
        name: "libvorbis0a",
        version: "1.3.7-1",
        digest: "01c14f9d1109650077a4c5c337c285476a6932d4d448f5a190c2b845724dbf21",
    },
    Package {
        name: "libvorbisenc2",
        version: "1.3.7-1",
        digest: "75dd4d6f904c7db82f5112e60d8efea9e81dfedf94e970c5da7af2b3d81643c0",
    },
    Package {
        name: "libwayland-server0",
        version: "1.21.0-1",
        digest: "df0396221d7b794496a687ec61fae82b6465648bc0ab6501ba0a5ed7f56eb8d6",
    },
    Package {
        name: "libx11-6",
        version: "2:1.8.4-2+deb12u2",
        digest: "d88c973e79fd9b65838d77624142952757e47a6eb1a58602acf0911cf35989f4",
    },
    Package {
        name: "libxau6",
        version: "1:1.0.9-1",
        digest: "679db1c4579ec7c61079adeaae8528adeb2e4bf5465baa6c56233b995d714750",
    },
    Package {
        name: "libxcb1",
        version: "1.15-1",
        digest: "fdc61332a3892168f3cc9cfa1fe9cf11a91dc3e0acacbc47cbc50ebaa234cc71",
    },
    Package {
        name: "libxcomposite1",
        version: "1:0.4.5-1",
        digest: "4c26ebf519d2ebc22fc1416dee45e12c4c4ef68aa9b2ed890356830df42b652a",
    },
    Package {
        name: "libxdamage1",
        version: "1:1.1.6-1",
        digest: "fcdf7e4c29b307ba8711c864e1e646d76315a8f55121198143653e56592fa8a7",
    },
    Package {
        name: "libxdmcp6",
        version: "1:1.1.2-3",
        digest: "ecb8536f5fb34543b55bb9dc5f5b14c9dbb4150a7bddb3f2287b7cab6e9d25ef",
    },
    Package {
        name: "libxext6",
        version: "2:1.3.4-1+b1",
        digest: "504b7be9d7df4f6f4519e8dd4d6f9d03a9fb911a78530fa23a692fba3058cba6",
    },
    Package {
        name: "libxfixes3",
        version: "1:6.0.0-2",
        digest: "1cd616396ff2ecae77e6e8b5b7695d414f0146de2d147837a2a02165f99e1a2c",
    },
    Package {
        name: "libxi6",
        version: "2:1.8-1+b1",
        digest: "6c2fb5f241b311788990122c6e693915867cd8ed9d6da2e3524aec7ed3cdb4c0",
    },
    Package {
        name: "libxkbcommon0",
        version: "1.5.0-1",
        digest: "e3fe045b9a33a101de1c5a912a4a10928db055c3f68930f47eccbb44d7c7d54e",
    },
    Package {
        name: "libxnvctrl0",
        version: "525.85.05-3~deb12u1",
        digest: "6fc26e4b6069f4648692e0c225f580161e3b0c04e4bac1c616c8a418a9a9817d",
    },
    Package {
        name: "libxrandr2",
        version: "2:1.5.2-2+b1",
        digest: "e2e10b672085ddf1d294cd689ed21bde5899325fd13626c2614b7d7b2d49a808",
    },
    Package {
        name: "libxrender1",
        version: "1:0.9.10-1.1",
        digest: "b2a6d160578f359220101947c8d67059b44704a251e688de1d0b744fefedfd1a",
    },
];
