package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/redsession/redsession"
)

const (
	visits = redsession.Key[int]("visits")
	cart   = redsession.Key[[]string]("cart")

	maxItem  = 80 // characters of a name
	maxItems = 20
)

type homeView struct {
	Visits int
	ID     string
	Ended  bool // the cookie's session has ended a moment ago
	Down   bool // Redis does not answer
	Where  string
}

func (d *demo) home(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	v := homeView{Where: d.where}
	var err error
	v.Visits, err = countVisit(r.Context(), s)
	// This page can do without the count, and says so: an id that a login or a
	// logout has just replaced takes no changes, nor does a Redis that is away.
	v.Ended, v.Down = errors.Is(err, redsession.ErrGone), errors.Is(err, redsession.ErrUnavailable)
	if err != nil && !v.Ended && !v.Down {
		d.fail(w, r, err)
		return
	}
	v.ID = s.ID()
	d.show(w, s, http.StatusOK, "home", view{Title: "Sessions in Redis", Path: "/", Body: v})
}

// countVisit counts a page view. It commits at once, so that the caller can
// decide what a failure means.
func countVisit(ctx context.Context, s *redsession.Session) (int, error) {
	visits.Update(s, func(n int) int { return n + 1 })
	err := s.Save(ctx)
	n, _ := visits.Get(s)
	return n, err
}

// value is one value of the session, as Redis holds it.
type value struct{ Key, JSON string }

type accountView struct {
	Visits    int
	IDBefore  string
	ID        string
	Created   time.Time
	Auth      time.Time
	Expires   time.Time
	Remaining time.Duration
	Device    redsession.Info
	Values    []value
}

func (d *demo) account(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	n, err := countVisit(r.Context(), s)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	devices, err := d.devicesOf(r.Context(), s)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	v := accountView{
		Visits: n, ID: s.ID(), Created: s.CreatedAt(), Auth: s.AuthTime(),
		Expires: s.ExpiresAt(), Remaining: s.ExpiresAt().Sub(d.now()),
	}
	v.IDBefore, _ = idBefore.Get(s)
	for _, device := range devices {
		if device.Current {
			v.Device = device.Info
		}
	}
	for _, key := range s.Keys() {
		raw, _ := redsession.Key[json.RawMessage](key).Get(s)
		v.Values = append(v.Values, value{key, string(raw)})
	}
	d.show(w, s, http.StatusOK, "account", view{Title: "Your account", Path: "/account", Body: v})
}

// device is one login of the user.
type device struct {
	redsession.Info
	Current bool   // this browser's
	Seen    string // how long ago
}

func (d *demo) devicesOf(ctx context.Context, s *redsession.Session) ([]device, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	infos, err := d.sessions.Sessions(ctx, s.UserID())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", redsession.ErrUnavailable, err)
	}
	devices := make([]device, len(infos))
	for i, info := range infos {
		devices[i] = device{info, info.ID == s.ID(), "now"}
		if ago := d.now().Sub(info.LastSeen); !devices[i].Current && ago >= time.Second {
			devices[i].Seen = span(ago) + " ago"
		}
	}
	return devices, nil
}

func (d *demo) devices(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	devices, err := d.devicesOf(r.Context(), s)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.show(w, s, http.StatusOK, "devices", view{Title: "Your devices", Path: "/devices", Body: devices})
}

func (d *demo) revokeDevice(w http.ResponseWriter, r *http.Request) {
	if err := parse(r); err != nil {
		d.fail(w, r, err)
		return
	}
	s := redsession.FromContext(r.Context())
	id := r.PostFormValue("id")
	if id == s.ID() {
		d.logout(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	ended, err := d.sessions.RevokeOf(ctx, s.UserID(), id)
	switch {
	case err != nil:
		d.fail(w, r, fmt.Errorf("%w: %w", redsession.ErrUnavailable, err))
		return
	case ended:
		s.Flash("That device is logged out.")
	default:
		s.Flash("That device had logged out already.")
	}
	http.Redirect(w, r, "/devices", http.StatusSeeOther)
}

func (d *demo) revokeOthers(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	n, err := d.sessions.RevokeOthers(ctx, s)
	switch {
	case errors.Is(err, redsession.ErrGone):
		d.fail(w, r, err)
		return
	case err != nil:
		d.fail(w, r, fmt.Errorf("%w: %w", redsession.ErrUnavailable, err))
		return
	case n == 0:
		s.Flash("There was no other device.")
	case n == 1:
		s.Flash("One other device is logged out.")
	default:
		s.Flash(fmt.Sprintf("%d other devices are logged out.", n))
	}
	http.Redirect(w, r, "/devices", http.StatusSeeOther)
}

func (d *demo) secret(w http.ResponseWriter, r *http.Request) {
	s := redsession.FromContext(r.Context())
	left := recentLogin - d.now().Sub(s.AuthTime())
	d.show(w, s, http.StatusOK, "secret", view{Title: "A page that matters", Path: "/secret", Body: left})
}

type cartView struct {
	Items   []string
	Item    string // kept after a mistake
	MaxItem int
	Error   string
}

func (d *demo) cart(w http.ResponseWriter, r *http.Request) {
	d.showCart(w, r, http.StatusOK, cartView{})
}

func (d *demo) showCart(w http.ResponseWriter, r *http.Request, status int, v cartView) {
	s := redsession.FromContext(r.Context())
	v.Items, _ = cart.Get(s)
	v.MaxItem = maxItem
	d.show(w, s, status, "cart", view{Title: "Your cart", Path: "/cart", Failed: v.Error != "", Body: v})
}

func (d *demo) addToCart(w http.ResponseWriter, r *http.Request) {
	if err := parse(r); err != nil {
		d.fail(w, r, err)
		return
	}
	s := redsession.FromContext(r.Context())
	item := strings.TrimSpace(r.PostFormValue("item"))
	items, _ := cart.Get(s)
	if mistake := checkItem(item, len(items)); mistake != "" {
		if utf8.RuneCountInString(item) > 2*maxItem {
			item = string([]rune(item)[:2*maxItem])
		}
		d.showCart(w, r, http.StatusUnprocessableEntity, cartView{Item: item, Error: mistake})
		return
	}
	cart.Update(s, func(old []string) []string {
		if len(old) >= maxItems { // filled by another request meanwhile
			return old
		}
		return append(slices.Clip(old), item)
	})
	http.Redirect(w, r, "/cart", http.StatusSeeOther)
}

// checkItem tells what is wrong with an item that is to join others, "" for
// nothing.
func checkItem(item string, others int) string {
	switch n := utf8.RuneCountInString(item); {
	case item == "":
		return "Please write what you want to buy."
	case n > maxItem:
		return fmt.Sprintf("The name has %d characters; it may have %d.", n, maxItem)
	case !utf8.ValidString(item) || strings.ContainsFunc(item, unicode.IsControl):
		return "The name has characters that cannot be shown."
	case others >= maxItems:
		return fmt.Sprintf("The cart is full: it holds %d items.", maxItems)
	}
	return ""
}

func (d *demo) emptyCart(w http.ResponseWriter, r *http.Request) {
	cart.Delete(redsession.FromContext(r.Context()))
	http.Redirect(w, r, "/cart", http.StatusSeeOther)
}
