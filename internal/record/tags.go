package record

import (
	"encoding/base64"
	"strings"
)

// Tags are lookup keys of a session as its record keeps them: for each a keyed hash, which
// names the key of its index, and the tag itself, encrypted. The hashes are readable
// without the secrets, so that whoever ends a session can take it out of the indexes.
type Tags string

const (
	tagBytes = 18 // 144 bits of the HMAC
	tagLen   = 24 // in base64url
)

// Tag is the keyed hash of a tag.
func (k *Keys) Tag(tag string) string {
	return base64.RawURLEncoding.EncodeToString(k.tag.sum(nil, tag)[:tagBytes])
}

// SealTags returns tags as a record keeps them, by the newest keys, each once.
func (r Ring) SealTags(tags []string) (Tags, error) {
	var all strings.Builder
	seen := make(map[string]bool)
	for _, tag := range tags {
		hash := r[0].Tag(tag)
		if seen[hash] {
			continue
		}
		seen[hash] = true
		box, err := seal(r[0].tagText.sum(nil, hash), hash, []byte(tag))
		if err != nil {
			return "", err
		}
		if all.Len() > 0 {
			all.WriteByte(' ')
		}
		all.WriteString(hash + box)
	}
	return Tags(all.String()), nil
}

// Hashes returns the hashes of t, and nothing that could be no hash.
func (t Tags) Hashes() (hashes []string) {
	for one := range strings.FieldsSeq(string(t)) {
		if hash := one[:min(len(one), tagLen)]; isHash(hash) {
			hashes = append(hashes, hash)
		}
	}
	return hashes
}

func isHash(s string) bool {
	_, err := strict.DecodeString(s)
	return err == nil && len(s) == tagLen
}

// Has tells whether t has the tag with this hash.
func (t Tags) Has(hash string) bool {
	for one := range strings.FieldsSeq(string(t)) {
		if strings.HasPrefix(one, hash) {
			return true
		}
	}
	return false
}

// OpenTags returns the tags themselves, but for those that were sealed by a secret that is
// not there any more.
func (r Ring) OpenTags(t Tags) (tags []string) {
	for one := range strings.FieldsSeq(string(t)) {
		if tag, _, ok := r.openTag(one); ok {
			tags = append(tags, tag)
		}
	}
	return tags
}

func (r Ring) openTag(one string) (tag string, keys *Keys, ok bool) {
	if len(one) <= tagLen {
		return "", nil, false
	}
	hash, box := one[:tagLen], one[tagLen:]
	for _, k := range r {
		if text, err := open(k.tagText.sum(nil, hash), hash, box); err == nil {
			return string(text), k, true
		}
	}
	return "", nil, false
}

// RenewTags returns t by the newest keys: an older secret can then go. What opens by none
// stays as it is.
func (r Ring) RenewTags(t Tags) (Tags, error) {
	var stale bool
	list := strings.Fields(string(t))
	for i, one := range list {
		tag, keys, ok := r.openTag(one)
		if !ok || keys == r[0] {
			continue
		}
		renewed, err := r.SealTags([]string{tag})
		if err != nil {
			return "", err
		}
		list[i], stale = string(renewed), true
	}
	if !stale {
		return t, nil
	}
	return Tags(strings.Join(list, " ")), nil
}
