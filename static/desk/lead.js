/* What is to be signed is too long for an answer's header: go on by the link. */
"use strict";

location.replace(document.querySelector("[data-lead]").href);
