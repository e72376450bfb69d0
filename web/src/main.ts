/** Entry of the page. */

import { startPage } from "./ui/page";

startPage(document.body);
