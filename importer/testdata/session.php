<?php
// Answers every request with a new session, for php -S.
session_start();
$plain = new stdClass;
$plain->a = 1;
$_SESSION = ['user_id' => 42, 'name' => 'ada', 'cart' => [['sku' => 'é1', 'n' => 2]], 'plain' => $plain, 'inf' => INF];
session_write_close();
