package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/redsession/redsession"
)

const (
	cart = redsession.Key[[]string]("cart")

	maxItem  = 80 // characters of a name
	maxItems = 20
)

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
