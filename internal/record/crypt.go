package record

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
)

var errDecrypt = errors.New("data do not decrypt")

// encryptData seals data with AES-256-GCM, under a fresh nonce and a key of its
// own for each key name: random nonces under one key for all would wear out (NIST
// SP 800-38D 8.3). The key name is additional data too, so that data cannot be
// moved between sessions.
func (k *Keys) encryptData(key string, data []byte) (string, error) {
	return seal(k.encrypt.sum(nil, key), key, data)
}

func (k *Keys) decryptData(key, box string) (string, error) {
	data, err := open(k.encrypt.sum(nil, key), key, box)
	return string(data), err
}

func newGCM(secret []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func seal(secret []byte, key string, plain []byte) (string, error) {
	gcm, err := newGCM(secret)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(gcm.Seal(nil, nil, plain, []byte(key))), nil
}

func open(secret []byte, key, box string) ([]byte, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(box)
	if err != nil {
		return nil, errDecrypt
	}
	gcm, err := newGCM(secret)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, nil, sealed, []byte(key))
	if err != nil {
		return nil, errDecrypt
	}
	return plain, nil
}
