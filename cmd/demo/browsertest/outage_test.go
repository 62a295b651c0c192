package browsertest_test

import (
	"testing"
)

func TestOutageIsSeenAndHeals(t *testing.T) {
	b := newBrowser(t, startDemo(t))
	b.login()
	b.visit("/cart")
	b.write("#item", "red lamp")
	b.click("main form button")
	b.want("before", "/cart", "Cart (1)", "red lamp")
	if b.text("#outage") != "" {
		t.Error("there is a banner before the outage")
	}

	operator := newBrowser(t, b.base)
	operator.visit("/operations")
	operator.click("main form button")
	operator.want("the switch", "/operations", "Redis is away", "Bring Redis back")
	b.until("the banner, without loading the page again", "document.getElementById('outage').innerText.includes('Redis is away')")
	if role := eval[string](b, "document.getElementById('outage').getAttribute('aria-live')"); role != "polite" {
		t.Errorf("got aria-live %q on the banner, want polite", role)
	}

	if status := b.visit("/cart"); status != 200 {
		t.Errorf("the cart during the outage: got status %d, want 200", status)
	}
	b.want("the cart during the outage", "/cart", "Redis is away", "From memory", "Cart (1)", "red lamp")
	b.write("#item", "blue lamp")
	b.click("main form button") // waits for Redis, in vain
	b.want("a change during the outage", "/cart", "Back in a moment", "not known to be done")
	if status := b.visit("/account"); status != 200 {
		t.Errorf("the account during the outage: got status %d, want 200", status)
	}
	if status := b.visit("/devices"); status != 503 {
		t.Errorf("the devices during the outage: got status %d, want 503", status)
	}
	b.want("the devices during the outage", "/devices", "Nobody is logged out by that")

	b.click("#outage button")
	b.want("the end", "/operations", "answers")
	operator.until("the banner to go", "document.getElementById('outage').innerText === ''")
	b.visit("/cart")
	b.want("the cart afterwards", "/cart", "alice", "Cart (1)", "red lamp")
	b.write("#item", "blue lamp")
	b.click("main form button")
	b.want("a change afterwards", "/cart", "Cart (2)", "red lamp", "blue lamp")
	if status := b.visit("/devices"); status != 200 {
		t.Errorf("the devices afterwards: got status %d, want 200", status)
	}
}
