package record_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/record"
)

const tag = "https://idp.example|08a5019c-17e1-4977-8f42-65a12843ea02"

func sealTags(t *testing.T, secrets string, tags ...string) record.Tags {
	t.Helper()
	sealed, err := ring(t, secrets).SealTags(tags)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestTagsAreReadableWithTheSecretsAlone(t *testing.T) {
	t.Parallel()
	sealed := sealTags(t, "a", tag, "org:acme", tag, "\xff\x00 ")
	if strings.Contains(string(sealed), "idp") || strings.Contains(string(sealed), "acme") {
		t.Errorf("%q shows a tag", sealed)
	}
	for _, row := range []struct {
		name, secrets string
		want          []string
	}{
		{"with the secret", "a", []string{tag, "org:acme", "\xff\x00 "}},
		{"with it as an older one", "ba", []string{tag, "org:acme", "\xff\x00 "}},
		{"with another", "b", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := ring(t, row.secrets).OpenTags(sealed); !slices.Equal(got, row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
	keys := ring(t, "a")[0]
	want := []string{keys.Tag(tag), keys.Tag("org:acme"), keys.Tag("\xff\x00 ")}
	if got := sealed.Hashes(); !slices.Equal(got, want) || !sealed.Has(want[1]) || sealed.Has(keys.Tag("org")) {
		t.Errorf("got the hashes %q, want %q, each once, without a secret", got, want)
	}
	if ring(t, "b")[0].Tag(tag) == want[0] {
		t.Error("got the same hash by two secrets")
	}
}

func TestTagsAreRenewedByTheNewestSecret(t *testing.T) {
	t.Parallel()
	old, fresh := sealTags(t, "a", tag, "org:acme"), sealTags(t, "b", tag)
	for _, row := range []struct {
		name, secrets string
		tags          record.Tags
		same          bool
		want          []string // by the newest secret
	}{
		{"by an older secret", "ba", old, false, []string{tag, "org:acme"}},
		{"by both", "ba", fresh + " " + old[strings.IndexByte(string(old), ' ')+1:], false, []string{tag, "org:acme"}},
		{"by the newest", "ba", fresh, true, []string{tag}},
		{"by a secret that is gone", "bc", old, true, nil},
		{"none", "ba", "", true, nil},
		{"what nobody of ours wrote", "ba", "x y", true, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := ring(t, row.secrets).RenewTags(row.tags)
			if err != nil || (got == row.tags) != row.same {
				t.Errorf("got %q and %v of %q, want it left as it is: %v", got, err, row.tags, row.same)
			}
			if opened := ring(t, row.secrets[:1]).OpenTags(got); !slices.Equal(opened, row.want) {
				t.Errorf("got %q by the newest secret, want %q", opened, row.want)
			}
		})
	}
}

// What somebody planted names no key that a hash could not.
func TestTagsOfAPlantedRecordNameNoOtherKeys(t *testing.T) {
	t.Parallel()
	for _, planted := range []record.Tags{"short", "user:aaaaaaaaaaaaaaaaaaaaaaaaaa", "********************************", " ", "é"} {
		if got := planted.Hashes(); len(got) != 0 {
			t.Errorf("got %q of %q, want none", got, planted)
		}
	}
}
