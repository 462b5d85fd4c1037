//! PKCS #7 SignedData as Authenticode has it (RFC 2315; Microsoft, "Windows Authenticode Portable
//! Executable Signature Format", 2008).

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_CONTENT_TYPE, ID_MESSAGE_DIGEST, ID_SIGNED_DATA};
use const_oid::db::rfc5912::{ID_SHA_256, RSA_ENCRYPTION};
use der::asn1::{BitString, OctetString, SetOfVec};
use der::{Any, Decode as _, Encode as _, Reader as _, Sequence, SliceReader, ValueOrd};
use i2kit_format::{ReadAt, authenticode};
use rsa::Pkcs1v15Sign;
use sha2::{Digest as _, Sha256};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::certificate::any;
use super::{Certificate, Error};

/// `SPC_INDIRECT_DATA_OBJID`.
const SPC_INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
/// `SPC_PE_IMAGE_DATAOBJ`.
const SPC_PE_IMAGE_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.15");
/// An empty `SpcLink`: `file [2] { unicode [0] "" }`, the value that all signers write for a PE file.
const EMPTY_LINK: [u8; 4] = [0xa2, 0x02, 0x80, 0x00];

/// The most bytes of padding behind a signature.
const PADDING: usize = 7;

#[derive(Clone, Debug, Sequence)]
struct ContentInfo {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: Any,
}

#[derive(Clone, Debug, Sequence)]
struct SignedData {
    version: u8,
    digest_algorithms: SetOfVec<AlgorithmIdentifierOwned>,
    content_info: ContentInfo,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    certificates: Option<SetOfVec<Any>>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    crls: Option<SetOfVec<Any>>,
    signer_infos: SetOfVec<SignerInfo>,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence, ValueOrd)]
struct IssuerAndSerialNumber {
    issuer: Name,
    serial_number: SerialNumber,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence, ValueOrd)]
struct SignerInfo {
    version: u8,
    issuer_and_serial_number: IssuerAndSerialNumber,
    digest_algorithm: AlgorithmIdentifierOwned,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    authenticated_attributes: Option<SetOfVec<Attribute>>,
    digest_encryption_algorithm: AlgorithmIdentifierOwned,
    encrypted_digest: OctetString,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    unauthenticated_attributes: Option<SetOfVec<Attribute>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence, ValueOrd)]
struct Attribute {
    attribute_type: ObjectIdentifier,
    values: SetOfVec<Any>,
}

#[derive(Clone, Debug, Sequence)]
struct SpcIndirectDataContent {
    data: SpcAttributeTypeAndOptionalValue,
    message_digest: MessageDigest,
}

#[derive(Clone, Debug, Sequence)]
struct SpcAttributeTypeAndOptionalValue {
    value_type: ObjectIdentifier,
    value: Option<Any>,
}

#[derive(Clone, Debug, Sequence)]
struct SpcPeImageData {
    flags: BitString,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    file: Any,
}

/// `DigestInfo` of PKCS #1 and PKCS #7.
#[derive(Clone, Debug, Sequence)]
struct MessageDigest {
    digest_algorithm: AlgorithmIdentifierOwned,
    digest: OctetString,
}

fn with_null(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid,
        parameters: Some(Any::null()),
    }
}

impl MessageDigest {
    fn sha256(digest: &[u8; 32]) -> Result<Self, Error> {
        Ok(Self {
            digest_algorithm: with_null(ID_SHA_256),
            digest: OctetString::new(digest.as_slice())?,
        })
    }
}

/// What an RSA key signs: the DER of a SHA-256 DigestInfo (RFC 8017, section 9.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestInfo(Vec<u8>);

impl DigestInfo {
    fn new(digest: &[u8; 32]) -> Result<Self, Error> {
        Ok(Self(MessageDigest::sha256(digest)?.to_der()?))
    }

    /// For these bytes.
    ///
    /// # Errors
    /// [`Error::Der`].
    pub fn of(bytes: &[u8]) -> Result<Self, Error> {
        Self::new(&Sha256::digest(bytes).into())
    }

    /// Its DER.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// All of a signature but the key's part. It depends on the image alone.
#[derive(Clone, Debug)]
pub struct ToBeSigned {
    content: Any,
    attributes: SetOfVec<Attribute>,
}

impl ToBeSigned {
    /// For an image with this Authenticode digest.
    ///
    /// # Errors
    /// [`Error::Der`].
    pub fn new(digest: &[u8; 32]) -> Result<Self, Error> {
        let image_data = SpcPeImageData {
            flags: BitString::from_bytes(&[])?,
            file: any(&EMPTY_LINK)?,
        };
        let content = SpcIndirectDataContent {
            data: SpcAttributeTypeAndOptionalValue {
                value_type: SPC_PE_IMAGE_DATA,
                value: Some(Any::encode_from(&image_data)?),
            },
            message_digest: MessageDigest::sha256(digest)?,
        };
        let content = Any::encode_from(&content)?;
        // Of the content's bytes without tag and length (RFC 2315, section 9.3).
        let message_digest = Sha256::digest(content.value());
        let mut attributes = SetOfVec::new();
        attributes.insert(attribute(
            ID_CONTENT_TYPE,
            Any::encode_from(&SPC_INDIRECT_DATA)?,
        )?)?;
        let message_digest = OctetString::new(message_digest.as_slice())?;
        attributes.insert(attribute(
            ID_MESSAGE_DIGEST,
            Any::encode_from(&message_digest)?,
        )?)?;
        Ok(Self {
            content,
            attributes,
        })
    }

    /// The SHA-256 that the key signs: of the authenticated attributes.
    ///
    /// # Errors
    /// [`Error::Der`].
    pub fn digest(&self) -> Result<[u8; 32], Error> {
        Ok(Sha256::digest(self.attributes.to_der()?).into())
    }

    /// The same as a DigestInfo.
    ///
    /// # Errors
    /// [`Error::Der`].
    pub fn digest_info(&self) -> Result<DigestInfo, Error> {
        DigestInfo::new(&self.digest()?)
    }
}

fn attribute(attribute_type: ObjectIdentifier, value: Any) -> Result<Attribute, Error> {
    let mut values = SetOfVec::new();
    values.insert(value)?;
    Ok(Attribute {
        attribute_type,
        values,
    })
}

/// The whole SignedData, DER, with the certificates of the file that `certificate` came from.
///
/// # Errors
/// [`Error::Der`].
pub fn signed_data(
    wanted: &ToBeSigned,
    certificate: &Certificate,
    signature: &[u8],
) -> Result<Vec<u8>, Error> {
    let mut certificates = SetOfVec::new();
    for der in certificate.all() {
        certificates.insert(any(der)?)?;
    }
    let tbs = certificate.parsed().tbs_certificate();
    let signer = SignerInfo {
        version: 1,
        issuer_and_serial_number: IssuerAndSerialNumber {
            issuer: tbs.issuer().clone(),
            serial_number: tbs.serial_number().clone(),
        },
        digest_algorithm: with_null(ID_SHA_256),
        authenticated_attributes: Some(wanted.attributes.clone()),
        digest_encryption_algorithm: with_null(RSA_ENCRYPTION),
        encrypted_digest: OctetString::new(signature)?,
        unauthenticated_attributes: None,
    };
    let signed = SignedData {
        version: 1,
        digest_algorithms: SetOfVec::from_iter([with_null(ID_SHA_256)])?,
        content_info: ContentInfo {
            content_type: SPC_INDIRECT_DATA,
            content: wanted.content.clone(),
        },
        certificates: Some(certificates),
        crls: None,
        signer_infos: SetOfVec::from_iter([signer])?,
    };
    let outer = ContentInfo {
        content_type: ID_SIGNED_DATA,
        content: Any::encode_from(&signed)?,
    };
    Ok(outer.to_der()?)
}

/// True when the certificate's key made `signature` of `info`.
pub(super) fn is_signature(certificate: &Certificate, info: &DigestInfo, signature: &[u8]) -> bool {
    let scheme = Pkcs1v15Sign::new_unprefixed();
    let public = certificate.public();
    public.verify(scheme, info.as_bytes(), signature).is_ok()
}

/// Checks that a PE image carries a signature by the certificate's own key.
///
/// # Errors
/// [`Error::Unsigned`], or [`Error::SignedData`] with what is wrong with the last signature.
pub fn verify<R: ReadAt + ?Sized>(image: &R, certificate: &Certificate) -> Result<(), Error> {
    let digest = authenticode::digest(image)?;
    let mut result = Err(Error::Unsigned);
    for entry in authenticode::certificates(image)? {
        if entry.is_pkcs7() {
            result = check(&entry.data, &digest, certificate);
        }
        if result.is_ok() {
            break;
        }
    }
    result
}

fn check(der: &[u8], digest: &[u8; 32], certificate: &Certificate) -> Result<(), Error> {
    let signed = parse(der).map_err(|_| Error::SignedData("the signature is not PKCS #7"))?;
    if signed.content_info.content_type != SPC_INDIRECT_DATA {
        return Err(Error::SignedData("the signature is not Authenticode's"));
    }
    let content = &signed.content_info.content;
    let said: SpcIndirectDataContent = content
        .decode_as()
        .map_err(|_| Error::SignedData("the signature is not Authenticode's"))?;
    if said.message_digest.digest_algorithm.oid != ID_SHA_256
        || said.message_digest.digest.as_bytes() != digest
    {
        return Err(Error::SignedData(
            "it was altered: its digest is not the one that was signed",
        ));
    }
    let is_good = |signer: &SignerInfo| is_by(signer, content, certificate).unwrap_or(false);
    if signed.signer_infos.iter().any(is_good) {
        Ok(())
    } else {
        Err(Error::SignedData(
            "its signature is not by the certificate's key",
        ))
    }
}

/// Some tools count the padding to 8 bytes as the entry's.
fn parse(padded: &[u8]) -> der::Result<SignedData> {
    let mut reader = SliceReader::new(padded)?;
    let outer = ContentInfo::decode(&mut reader)?;
    let end = usize::try_from(reader.position())?;
    let padding = padded.get(end..).unwrap_or_default();
    if padding.len() > PADDING || padding.iter().any(|byte| *byte != 0) {
        return Err(der::ErrorKind::Failed.into());
    }
    outer.content.decode_as()
}

/// True when the signer's attributes name the content and the certificate's key signed them.
fn is_by(signer: &SignerInfo, content: &Any, certificate: &Certificate) -> Option<bool> {
    let attributes = signer.authenticated_attributes.as_ref()?;
    let value = |wanted: ObjectIdentifier| {
        let mut found = attributes.iter().filter(|one| one.attribute_type == wanted);
        let (one, None) = (found.next()?, found.next()) else {
            return None;
        };
        let mut values = one.values.iter();
        let (value, None) = (values.next()?, values.next()) else {
            return None;
        };
        Some(value.clone())
    };
    let content_type: ObjectIdentifier = value(ID_CONTENT_TYPE)?.decode_as().ok()?;
    let message_digest: OctetString = value(ID_MESSAGE_DIGEST)?.decode_as().ok()?;
    let signed = Sha256::digest(attributes.to_der().ok()?).into();
    let info = DigestInfo::new(&signed).ok()?;
    Some(
        signer.digest_algorithm.oid == ID_SHA_256
            && content_type == SPC_INDIRECT_DATA
            && message_digest.as_bytes() == Sha256::digest(content.value()).as_slice()
            && is_signature(certificate, &info, signer.encrypted_digest.as_bytes()),
    )
}
